// Leaves, one a line, are RFC 8785 as npm's canonicalize writes it, and link to each other.
// Read from standard input, so that modules are found in the folder that it runs in.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import canonicalize from 'canonicalize';

const file = process.argv.at(-1);
const sha256 = (...parts) => parts.reduce((h, part) => h.update(part), createHash('sha256'));

let prev = null;
let count = 0;
for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) {
  const leaf = JSON.parse(line);
  prev ??= sha256('autonomics.genesis/1\n' + leaf.log).digest('hex');
  if (canonicalize(leaf) !== line) throw new Error(`leaf ${count} is not canonical`);
  if (leaf.seq !== count) throw new Error(`leaf ${count} says ${leaf.seq}`);
  if (leaf.prev !== prev) throw new Error(`leaf ${count} does not link to the one before`);
  prev = sha256(Buffer.from([0]), line).digest('hex');
  count += 1;
}
console.log(count, prev);
