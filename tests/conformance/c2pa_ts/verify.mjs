// Usage: node verify.mjs FILE.png | node verify.mjs FILE STORE
// Prints {"valid": boolean, "codes": [status code, ...]} for the embedded credentials or those in STORE, and exits 0.
import { readFile } from 'node:fs/promises';
import { PNG } from '@trustnxt/c2pa-ts/asset';
import { SuperBox } from '@trustnxt/c2pa-ts/jumbf';
import { ManifestStore, ValidationResult } from '@trustnxt/c2pa-ts/manifest';

// The library reads embedded credentials only; a file beside its store is nothing but bytes to hash.
class Bytes {
    mimeType = 'application/octet-stream';

    constructor(data) {
        this.data = data;
    }

    getDataLength() {
        return this.data.length;
    }

    async getDataRange(start = 0, length = this.data.length - start) {
        return this.data.subarray(start, start + length);
    }
}

async function validate(file, store) {
    const data = new Uint8Array(await readFile(file));
    const asset = store ? new Bytes(data) : new PNG(data);
    const jumbf = store ? new Uint8Array(await readFile(store)) : asset.getManifestJUMBF();
    if (!jumbf) throw new Error('no manifest');
    return ManifestStore.read(SuperBox.fromBuffer(jumbf)).validate(asset);
}

const result = await validate(process.argv[2], process.argv[3]).catch((error) => ValidationResult.fromError(error));
process.stdout.write(JSON.stringify({ valid: result.isValid, codes: result.statusEntries.map((entry) => entry.code) }));
