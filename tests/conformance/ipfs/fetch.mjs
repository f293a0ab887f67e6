// A file by its CID from a trustless gateway: node fetch.mjs BASE CID OUT [TOKEN]. Every block is fetched by
// `?format=raw` and hashed against its CID before ipfs-unixfs-exporter sees it; prints how many there were.
import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { exporter } from 'ipfs-unixfs-exporter'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const [base, name, out, token] = process.argv.slice(2)
let count = 0

const store = {
  async * get (cid) {
    const headers = { accept: 'application/vnd.ipld.raw', ...(token ? { authorization: `Bearer ${token}` } : {}) }
    const answer = await fetch(`${base}/ipfs/${cid}?format=raw`, { headers })
    if (answer.status !== 200) throw new Error(`gateway answered ${answer.status} for ${cid}`)
    if (!answer.headers.get('content-type').startsWith('application/vnd.ipld.raw')) throw new Error('wrong content type')
    const block = new Uint8Array(await answer.arrayBuffer())
    const digest = await sha256.digest(block)
    if (!CID.create(1, cid.code, digest).equals(cid)) throw new Error(`hash mismatch: ${cid}`)
    count++
    yield block
  }
}

const entry = await exporter(CID.parse(name), store)
await pipeline(Readable.from(entry.content()), createWriteStream(out))
console.log(JSON.stringify({ blocks: count, size: Number(entry.size) }))
