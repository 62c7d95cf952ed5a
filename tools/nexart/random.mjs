// What is random, and the same again for the same seed.

// A small generator (mulberry32).
let state = 0;
export function seed(n) {
  state = n >>> 0;
}
export function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
export const below = (n) => Math.floor(random() * n);
export const pick = (list) => list[below(list.length)];
export const times = (n, f) => Array.from({ length: n }, (_, i) => f(i));
export const maybe = (f) => (random() < 0.5 ? f() : undefined);
export const bytes = (n) => Buffer.from(times(n, () => below(256)));

// Every kind of character that JSON texts are written differently with: escaped,
// not escaped though other writers do, of one to four bytes, combining, and
// those that sort differently by UTF-16 and by code point.
const characters = [
  () => String.fromCharCode(32 + below(95)),
  () => String.fromCharCode(below(32)),
  () => pick(['"', '\\', '/', '<', '>', '&', '\u007f', '\u2028', '\u2029', '\ufeff', '\u00a0', 'e\u0301', '\u00e9', '\u202e']),
  () => String.fromCodePoint(0x80 + below(0xd800 - 0x80)),
  () => String.fromCodePoint(0xe000 + below(0x1fff)),
  () => String.fromCodePoint(0x10000 + below(0x100000)),
];
export const text = (max) => times(below(max + 1), () => (random() < 0.6 ? characters[0] : pick(characters))()).join('');
export const word = () => 'w' + text(12);

// Numbers on both sides of every edge: where the spelling changes, where integers
// stop being exact, the smallest and the largest.
const edges = [
  0, -0, 0.1, 1e-6, 9.999999999999999e-7, 1e-7, 5e-324, 2.225073858507201e-308, 2.2250738585072014e-308, 2 ** 31, 2 ** 32, 2 ** 53 - 1,
  2 ** 53, 2 ** 53 + 2, 2 ** 63, 2 ** 64, 999999999999999900000, 1e20, 1e21, 1e22, 1e23, Number.MAX_VALUE, Number.EPSILON, 1 / 3, 4.35, 100,
];
export const number = () =>
  pick([
    () => below(1000),
    () => -below(2 ** 31),
    () => Number.MAX_SAFE_INTEGER - below(1000),
    () => random(),
    () => (random() - 0.5) * 10 ** (below(40) - 20),
    () => random() * 10 ** -below(308),
    () => random() * 10 ** below(308),
    () => pick([1, -1]) * pick(edges),
  ])();

export function value(depth) {
  const leaf = [() => text(40), number, () => null, () => random() < 0.5];
  const node = [
    () => times(below(5), () => value(depth - 1)),
    () => Object.fromEntries(times(below(6), () => [pick([word, () => String(below(20)), () => text(6)])(), value(depth - 1)])),
  ];
  return pick(depth > 0 ? [...leaf, ...node, ...node] : leaf)();
}

// deep is a value in that many arrays and objects.
const deep = (levels) => times(levels, () => random() < 0.5).reduce((v, list) => (list ? [v] : { d: v }), value(1));

// content is what a model reads or writes.
export const content = () =>
  pick([
    () => text(200),
    () => text(200),
    () => [value(3)],
    () => ({ a: value(4), b: value(2) }),
    () => times(100 + below(300), number),
    () => times(below(100), () => text(10)),
    () => deep(20 + below(60)),
  ])();

// shuffled returns v with the members of its objects in another order.
export function shuffled(v) {
  if (v === null || typeof v !== 'object') return v;
  if (Array.isArray(v)) return v.map(shuffled);
  const entries = Object.entries(v).map(([k, x]) => ({ at: random(), entry: [k, shuffled(x)] }));
  return Object.fromEntries(entries.sort((a, b) => a.at - b.at).map((e) => e.entry));
}

// flipped changes one bit of a text's UTF-8; undefined if that is no text.
export function flipped(text) {
  const b = Buffer.from(text);
  b[below(b.length)] ^= 1 << below(8);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(b);
  } catch {
    return undefined;
  }
}
