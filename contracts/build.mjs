// Compiles the contracts with the locked solc into the artifact that the package carries.
//
//   npm ci && node build.mjs            writes the artifact
//   npm ci && node build.mjs --check    writes nothing, ends 1 where the committed artifact is another
//
// No metadata hash and no CBOR trailer: the bytecode depends on code and settings, not on paths and comments.
import { readFileSync, writeFileSync } from 'node:fs';
import solc from 'solc';

const NAME = 'CommitRegistry';
const SOURCE = `${NAME}.sol`;
const OUT = new URL(`../src/tallystick/adapters/artifacts/${NAME}.json`, import.meta.url);

const settings = {
  evmVersion: 'cancun',
  metadata: { appendCBOR: false, bytecodeHash: 'none', useLiteralContent: true },
  optimizer: { enabled: true, runs: 200 },
};
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: 'Solidity',
      sources: { [SOURCE]: { content: readFileSync(new URL(SOURCE, import.meta.url), 'utf8') } },
      settings: {
        ...settings,
        outputSelection: { [SOURCE]: { [NAME]: ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
      },
    }),
  ),
);
const complaints = output.errors ?? []; // a warning is a mistake as well
for (const complaint of complaints) console.error(complaint.formattedMessage);
if (complaints.length) process.exit(1);

const { abi, evm } = output.contracts[SOURCE][NAME];
const artifact = {
  contract: NAME,
  compiler: solc.version(),
  settings,
  abi,
  bytecode: evm.bytecode.object,
  deployedBytecode: evm.deployedBytecode.object,
};
const text = `${JSON.stringify(artifact, null, 1)}\n`;

if (!process.argv.includes('--check')) {
  writeFileSync(OUT, text);
  console.log(`${NAME}: ${artifact.deployedBytecode.length / 2} bytes deployed`);
} else if (readFileSync(OUT, 'utf8') !== text) {
  console.error(`${NAME}.json is not what ${SOURCE} gives: run node build.mjs and commit the difference`);
  process.exit(1);
}
