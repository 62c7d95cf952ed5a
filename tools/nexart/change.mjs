// What changes a bundle, and what NexArt's verifier says of it.
import { verifyCer } from '@nexart/ai-execution';

// ok tells whether a bundle verifies; what makes the verifier throw does not.
export function ok(bundle) {
  try {
    return verifyCer(bundle).ok;
  } catch {
    return false;
  }
}

// other returns a value that is not v: of the same type where that is possible.
function other(v) {
  switch (typeof v) {
    case 'string':
      return v === '' ? 'x' : v.slice(0, -1) + (v.endsWith('x') ? 'y' : 'x');
    case 'number':
      return v === 0 ? 1 : -v;
    case 'boolean':
      return !v;
    default:
      return 'x';
  }
}

// within yields, for each place in v, v with that place changed: each scalar
// replaced, each member and element left out, a member and an element added.
export function* within(v, at) {
  if (v === null || typeof v !== 'object') {
    yield { what: `${at} changed`, value: other(v) };
    return;
  }
  const list = Array.isArray(v);
  const keys = Object.keys(v);
  // Of a long array some elements stand for all, or this would take a square of time.
  const step = list ? Math.ceil(keys.length / 16) : 1;
  for (const key of keys.filter((_, i) => i % step === 0)) {
    for (const { what, value } of within(v[key], `${at}/${key}`)) {
      const copy = list ? [...v] : Object.fromEntries(Object.entries(v));
      Object.defineProperty(copy, key, { value, enumerable: true, configurable: true, writable: true });
      yield { what, value: copy };
    }
    const less = list ? v.filter((_, i) => String(i) !== key) : Object.fromEntries(Object.entries(v).filter(([k]) => k !== key));
    yield { what: `${at}/${key} left out`, value: less };
  }
  yield list ? { what: `${at}/- added`, value: [...v, 'x'] } : { what: `${at}/sworn.added added`, value: { ...v, 'sworn.added': 'x' } };
}

const hashed = ['bundleType', 'version', 'createdAt', 'snapshot', 'certificateHash'];

// changes yields a bundle with each thing within some members changed, one at a
// time: of those that are hashed, unless told otherwise.
export function* changes(bundle, keys = hashed) {
  for (const key of keys) {
    if (!(key in bundle)) continue;
    for (const { what, value } of within(bundle[key], `/${key}`)) {
      yield { what, bundle: { ...bundle, [key]: value } };
    }
    const { [key]: _, ...less } = bundle;
    yield { what: `/${key} left out`, bundle: less };
  }
}
