// Makes random bundles with NexArt's package and prints them for main.go to
// judge, one JSON object a line: text, what was done to it, and whether NexArt's
// verifier accepts it. Usage: node bundles.mjs SEED COUNT
import { createSnapshot, sealCer } from '@nexart/ai-execution';
import { changes, ok } from './change.mjs';

const [seed, count] = process.argv.slice(2).map(Number);
if (!Number.isSafeInteger(seed) || !(count > 0)) throw new Error('usage: node bundles.mjs SEED COUNT');

// A small generator (mulberry32), so that a seed gives the same bundles again.
let state = seed >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];
const times = (n, f) => Array.from({ length: n }, f);

// Every kind of character that JSON texts are written differently with: escaped,
// not escaped though other writers do, of one to four bytes, combining, and
// those that sort differently by UTF-16 and by code point.
const characters = [
  () => String.fromCharCode(32 + below(95)),
  () => String.fromCharCode(below(32)),
  () => pick(['"', '\\', '/', '<', '>', '&', '\u007f', '\u2028', '\u2029', '\ufeff', '\u00a0', 'e\u0301', '\u00e9']),
  () => String.fromCodePoint(0x80 + below(0xd800 - 0x80)),
  () => String.fromCodePoint(0xe000 + below(0x1fff)),
  () => String.fromCodePoint(0x10000 + below(0x100000)),
];
const text = (max) => times(below(max + 1), () => (random() < 0.6 ? characters[0] : pick(characters))()).join('');
const word = () => 'w' + text(12);

// Numbers below 2^53: beyond it, Sworn refuses what a double cannot spell.
const number = () =>
  pick([
    () => below(1000),
    () => -below(2 ** 31),
    () => Number.MAX_SAFE_INTEGER - below(1000),
    () => random(),
    () => (random() - 0.5) * 10 ** (below(30) - 20),
    () => random() * 10 ** -below(308),
    () => pick([0, -0, 1e-6, 1e-7, 0.1, 5e-324, 2.2250738585072014e-308, 1e21, 1e22]),
  ])();

function value(depth) {
  const leaf = [() => text(40), number, () => null, () => random() < 0.5];
  const node = [
    () => times(below(5), () => value(depth - 1)),
    () => Object.fromEntries(times(below(6), () => [pick([word, () => String(below(20)), () => text(6)])(), value(depth - 1)])),
  ];
  return pick(depth > 0 ? [...leaf, ...node, ...node] : leaf)();
}

const content = () => pick([() => text(200), () => text(200), () => [value(3)], () => ({ a: value(4), b: value(2) })])();
const maybe = (f) => (random() < 0.5 ? f() : undefined);

function bundle() {
  const snapshot = createSnapshot({
    executionId: word(),
    timestamp: maybe(() => '2026-11-22T00:00:00.000Z'),
    provider: word(),
    model: word(),
    modelVersion: maybe(word),
    prompt: word() + text(300),
    input: content(),
    parameters: { temperature: number(), maxTokens: below(1e6), topP: pick([null, random()]), seed: pick([null, below(2 ** 31)]) },
    output: content(),
    appId: maybe(word),
  });
  return sealCer(snapshot, { createdAt: '2026-11-22T00:00:00.000Z', meta: maybe(() => ({ source: word(), tags: [word()] })) });
}

// shuffled returns v with the members of its objects in another order.
function shuffled(v) {
  if (v === null || typeof v !== 'object') return v;
  if (Array.isArray(v)) return v.map(shuffled);
  const entries = Object.entries(v).map(([k, x]) => ({ at: random(), entry: [k, shuffled(x)] }));
  return Object.fromEntries(entries.sort((a, b) => a.at - b.at).map((e) => e.entry));
}

const print = (what, text, accepted) => process.stdout.write(JSON.stringify({ what, text, accepted }) + '\n');

// flipped changes one bit of a text's UTF-8; undefined if that is no text.
function flipped(text) {
  const bytes = Buffer.from(text);
  bytes[below(bytes.length)] ^= 1 << below(8);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

for (let i = 0; i < count; i++) {
  const made = bundle();
  const text = JSON.stringify(shuffled(made), null, pick([0, 0, 2, '\t']));
  if (!ok(parsed(text))) throw new Error(`seed ${seed}, bundle ${i}: NexArt refuses its own`);
  print('made', text, true);
  const all = [...changes(made)];
  for (const { what, bundle } of times(8, () => pick(all))) {
    if (ok(bundle)) throw new Error(`seed ${seed}, bundle ${i}: NexArt accepts ${what}`);
    print(`changed: ${what}`, JSON.stringify(bundle), false);
  }
  for (const text2 of times(8, () => flipped(text))) {
    if (text2 !== undefined) print('flipped', text2, ok(parsed(text2)));
  }
}
