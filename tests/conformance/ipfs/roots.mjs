// Roots of files by ipfs-unixfs-importer: node roots.mjs CHUNK WIDTH SIZE... prints one CID per size.
// The file of a size is a stretch of bytes that the Python side makes in the same way: byte i is i * i mod 251.
import { MemoryBlockstore } from 'blockstore-core'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'

const [chunk, width, ...sizes] = process.argv.slice(2).map(Number)

async function * content (size) {
  const period = Uint8Array.from({ length: 251 }, (_, i) => (i * i) % 251)
  const piece = new Uint8Array(251 * 4096)
  for (let at = 0; at < piece.length; at += 251) piece.set(period, at)
  for (let left = size; left > 0; left -= piece.length) yield left < piece.length ? piece.subarray(0, left) : piece
}

class Forgetful extends MemoryBlockstore {
  put (cid) { return cid }
}

for (const size of sizes) {
  const options = {
    cidVersion: 1,
    rawLeaves: true,
    wrapWithDirectory: false,
    chunker: fixedSize({ chunkSize: chunk }),
    layout: balanced({ maxChildrenPerNode: width })
  }
  for await (const entry of importer([{ content: content(size) }], new Forgetful(), options)) console.log(entry.cid.toString())
}
