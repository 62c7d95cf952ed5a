// Makes random records and prints them for main.go to judge, one JSON object a
// line: what was done, the text, whether NexArt's verifier accepts it (null where
// that is of a later release than theirs), and the layers that must come out.
// Usage: node bundles.mjs SEED COUNT
import { changes, ok, within } from './change.mjs';
import { Node, around, sealed, sealedProject } from './node.mjs';
import { below, flipped, pick, random, seed, shuffled, times, word } from './random.mjs';
import { forged, governed, project, record } from './shapes.mjs';

const [first, count] = process.argv.slice(2).map(Number);
if (!Number.isSafeInteger(first) || !(count > 0)) throw new Error('usage: node bundles.mjs SEED COUNT');
seed(first);

let done = '';
let round = 0;
const print = (what, text, accepted = null, layers = '') => {
  done += JSON.stringify({ what: `${what}`, at: `SWORN_SEED=${first}, ${round}`, text, accepted, layers }) + '\n';
};
const spelled = (v) => JSON.stringify(shuffled(v), null, pick([0, 0, 2, '\t']));
const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};
// sample is at most n of what a generator yields.
const sample = (n, all) => ((list) => times(Math.min(n, list.length), () => pick(list)))([...all]);

const node = new Node('k1');
const impostor = new Node('k1');
print('keys', JSON.stringify(node.document()));

// bare judges a record without signatures, against NexArt's own verifier where
// that knows the shape.
function bare({ name, theirs, record }) {
  const text = spelled(record);
  if (theirs && !ok(parsed(text))) throw new Error(`seed ${first}, ${round}: NexArt refuses ${name}`);
  print(`made: ${name}`, text, theirs || null, 'PASS SKIPPED SKIPPED');
  const { context, ...rest } = record;
  function* all() {
    yield* changes(record);
    if (!context) return;
    for (const { what, value } of within(context.signals, '/context/signals')) yield { what, bundle: { ...rest, context: { signals: value } } };
    yield { what: '/context left out', bundle: rest };
  }
  for (const { what, bundle } of sample(8, all())) {
    if (theirs && ok(bundle)) throw new Error(`seed ${first}, ${round}: NexArt accepts ${what}`);
    print(`changed: ${what}`, JSON.stringify(bundle), theirs ? false : null);
  }
  if (!theirs) return;
  for (const t of times(6, () => flipped(text))) {
    if (t !== undefined) print('flipped', t, ok(parsed(t)));
  }
}

// certified judges a record that the node signed, and what others can make of its
// signatures. other is another record that the node signed.
function certified({ name, withheld, record, protocol }, other) {
  const receipt = node.receipt(record.certificateHash, protocol);
  // What is withheld, an envelope cannot be checked against.
  const envelope = withheld || random() < 0.2 ? {} : node.envelope(record, protocol);
  const has = 'verificationEnvelope' in envelope;
  const signatures = { ...receipt, ...envelope };
  print(`made: ${name}, certified`, spelled(around(record, signatures)), null, `PASS PASS ${has ? 'PASS' : 'SKIPPED'}`);
  for (const { what, bundle } of sample(6, changes(around(record, signatures), ['receipt', 'signature', 'verificationEnvelope', 'verificationEnvelopeSignature']))) {
    print(`changed: ${what}`, JSON.stringify(bundle));
  }
  for (const { what, bundle } of sample(2, changes(record))) {
    print(`changed: ${what}, beside signatures`, JSON.stringify(around(bundle, signatures)));
  }
  const evil = forged(record);
  const again = (what, s) => print(`sealed again: ${what}`, spelled(around(evil, s)), null, `PASS FAIL ${has ? 'FAIL' : 'SKIPPED'}`);
  again('the signatures kept', signatures);
  again('the receipt edited', { ...signatures, receipt: { ...receipt.receipt, certificateHash: evil.certificateHash } });
  const own = { ...impostor.receipt(evil.certificateHash, protocol), ...(has ? impostor.envelope(evil, protocol) : {}) };
  again('signed by another', own);
  again('signed by another who brings a key', { ...own, canonical: { envelope: impostor.document().keys[0] } });
  const theirs = { ...node.receipt(other.record.certificateHash, other.protocol), ...node.envelope(other.record, other.protocol) };
  const swap = (what, r, s) => print(`swapped: ${what}`, JSON.stringify(around(r, s)));
  swap('receipt', record, { ...signatures, receipt: theirs.receipt, signature: theirs.signature });
  swap('signature', record, { ...signatures, signature: theirs.signature });
  swap('record', other.record, signatures);
  swap('snapshot', { ...record, snapshot: other.record.snapshot }, signatures);
  swap('hash', { ...record, certificateHash: other.record.certificateHash }, theirs);
  if (has) {
    const { verificationEnvelope, verificationEnvelopeSignature } = theirs;
    swap('envelope', record, { ...signatures, verificationEnvelope, verificationEnvelopeSignature });
    swap('envelope for receipt', record, { ...signatures, receipt: verificationEnvelope, signature: verificationEnvelopeSignature });
    swap('receipt for envelope', record, { ...signatures, verificationEnvelope: receipt.receipt, verificationEnvelopeSignature: receipt.signature });
    swap('record around the package', { ...other.record, cer: record }, signatures);
  }
}

// projects judges a project, and what others can make of it.
function projects() {
  const made = project();
  print('made: project', spelled(made), null, 'PASS SKIPPED SKIPPED');
  const receipt = node.receipt(made.integrity.projectHash, '1.2.0');
  print('made: project, certified', spelled({ ...made, ...receipt }), null, 'PASS PASS SKIPPED');
  const { embeddedBundles, integrity, ...rest } = made;
  for (const { what, bundle } of sample(8, changes(made, Object.keys(rest)))) print(`changed: ${what}`, JSON.stringify(bundle));
  for (const key of ['algorithm', 'projectHash']) print(`changed: ${key}`, JSON.stringify({ ...made, integrity: { ...integrity, [key]: word() } }));
  const ids = Object.keys(embeddedBundles);
  const id = pick(ids);
  const embed = (what, r) => print(`changed: ${what}`, JSON.stringify({ ...made, embeddedBundles: { ...embeddedBundles, [id]: r } }));
  for (const { what, bundle } of sample(4, changes(embeddedBundles[id]))) embed(`a record: ${what}`, bundle);
  embed('a record forged and sealed', forged(embeddedBundles[id]));
  embed('a record of no project', record().record);
  embed('no record', null);
  if (ids.length > 1) {
    const another = pick(ids.filter((x) => x !== id));
    print('swapped: records', JSON.stringify({ ...made, embeddedBundles: { ...embeddedBundles, [id]: embeddedBundles[another], [another]: embeddedBundles[id] } }));
    const circle = made.stepRegistry.map((s) => (s.stepId === id ? { ...s, parentStepIds: [another] } : s.stepId === another ? { ...s, parentStepIds: [id] } : s));
    print('changed: parents in a circle, sealed', JSON.stringify(sealedProject({ ...made, stepRegistry: circle })));
    const less = made.stepRegistry.filter((s) => s.stepId !== id).map(({ parentStepIds, ...s }) => s);
    print('sealed again: a step left out', JSON.stringify({ ...sealedProject({ ...made, totalSteps: less.length, stepRegistry: less }), ...receipt }), null, 'PASS FAIL SKIPPED');
  }
  const registered = (what, members) =>
    print(`changed: ${what}, sealed`, JSON.stringify(sealedProject({ ...made, stepRegistry: made.stepRegistry.map((s) => (s.stepId === id ? { ...s, ...members } : s)) })));
  registered('the hash of a step', { certificateHash: record().record.certificateHash });
  registered('the execution of a step', { executionId: word() });
  registered('the parent of a step', { parentStepIds: ['nobody'] });
  registered('the sequence of a step', { sequence: -1 });
  print('changed: totalSteps, sealed', JSON.stringify(sealedProject({ ...made, totalSteps: made.totalSteps + 1 })));
  print('sealed again: the title', JSON.stringify({ ...sealedProject({ ...made, projectTitle: word() + 'x' }), ...receipt }), null, 'PASS FAIL SKIPPED');
}

// governedSteps judges a governed record.
function governedSteps() {
  const made = governed();
  const receipt = node.receipt(made.certificateHash, '1');
  print('made: governed', spelled(around(made, receipt)), null, 'PASS PASS SKIPPED');
  for (const { what, bundle } of sample(6, changes(made, Object.keys(made)))) print(`changed: ${what}`, JSON.stringify(bundle));
}

for (round = 0; round < count; round++) {
  const made = record();
  bare(made);
  if (round % 2 === 0) certified(made, record());
  if (round % 5 === 0) projects();
  if (round % 10 === 0) governedSteps();
  if (done.length > 1 << 16 || round === count - 1) {
    if (!process.stdout.write(done)) await new Promise((resolve) => process.stdout.once('drain', resolve));
    done = '';
  }
}
