// Verifies the record inside each capsule named, as NexArt's verifier does, and
// then the same record with each of its values changed, one at a time, which
// must be refused. Usage: node records.mjs CAPSULE...
import { readFileSync } from 'node:fs';
import { verifyCer } from '@nexart/ai-execution';
import { changes, ok } from './change.mjs';

const files = process.argv.slice(2);
if (files.length === 0) throw new Error('no capsule given');
for (const file of files) {
  const { cer } = JSON.parse(readFileSync(file, 'utf8'));
  const verdict = verifyCer(cer);
  if (!verdict.ok) throw new Error(`${file}: not ok: ${verdict.errors.join('; ')}`);
  let refused = 0;
  for (const { what, bundle } of changes(cer)) {
    if (ok(bundle)) throw new Error(`${file}: ok in spite of ${what}`);
    refused++;
  }
  if (refused < 50) throw new Error(`${file}: only ${refused} changes were tried`);
  console.log(`${file}: ok; not ok in each of ${refused} changed forms`);
}
