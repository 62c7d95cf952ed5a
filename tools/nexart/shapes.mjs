// The records that are made: those of NexArt's package, and those of which later
// releases document the hash, in the shapes that they have.
import { createSnapshot, sealCer } from '@nexart/ai-execution';
import { hash, hashOfContent, sealed, sealedProject } from './node.mjs';
import { below, bytes, content, maybe, number, pick, random, text, times, value, word } from './random.mjs';

const createdAt = '2026-11-22T00:00:00.000Z';

// made is a record of NexArt's package.
function made(executionId) {
  const snapshot = createSnapshot({
    executionId,
    timestamp: maybe(() => createdAt),
    provider: word(),
    model: word(),
    modelVersion: maybe(word),
    prompt: word() + text(300),
    input: content(),
    parameters: { temperature: number(), maxTokens: below(1e6), topP: pick([null, random()]), seed: pick([null, below(2 ** 31)]) },
    output: content(),
    appId: maybe(word),
  });
  return sealCer(snapshot, { createdAt, meta: maybe(() => ({ source: word(), tags: [word()] })) });
}

const withSnapshot = (record, members) => sealed({ ...record, snapshot: { ...record.snapshot, ...members } });
const later = () => ({ protocolVersion: pick(['1.3.0', '1.3.1']) });
const commitment = () => ({ _redacted: true, scheme: 'hmac-sha256-v1', commitment: 'sha256:' + bytes(32).toString('hex') });

// Each shape makes a record of a made one. theirs: NexArt's 0.1.0 accepts it too.
const shapes = {
  plain: { theirs: true, of: (r) => r },
  'members of later releases': {
    theirs: true,
    of: (r) => withSnapshot(r, { runId: word(), stepIndex: below(9), prevStepHash: null, toolCalls: [value(2)], [word() + '1']: value(3) }),
  },
  'context signals': {
    of: (r) => sealed({ ...r, context: { signals: times(1 + below(4), (step) => ({ type: word(), source: word(), step, payload: { v: value(2) } })) } }),
  },
  'protocol 1.3': { of: (r) => withSnapshot(r, later()) },
  'without prompt, input and output': {
    withheld: true,
    of: ({ snapshot: { prompt, input, output, ...snapshot }, ...r }) => sealed({ ...r, snapshot }),
  },
  confidential: { of: (r) => withSnapshot(r, { protocolVersion: '1.3.1', output: commitment(), ...maybe(() => ({ input: commitment() })) }) },
};

// record makes a record of some shape.
export function record(executionId = word()) {
  const name = pick(Object.keys(shapes));
  const { theirs = false, withheld = false, of } = shapes[name];
  const r = of(made(executionId));
  return { name, theirs, withheld, record: r, protocol: r.snapshot.protocolVersion };
}

// forged is what somebody makes of a record who can compute every hash.
export function forged(r) {
  const snapshot = { ...r.snapshot };
  const edits = [
    () => (snapshot.model += 'x'),
    () => (snapshot.executionId += 'x'),
    () => (snapshot.parameters = { ...snapshot.parameters, temperature: -1.25 }),
    () => (snapshot[word() + 'x'] = 1),
    () => (r = { ...r, createdAt: '2026-11-22T00:00:00.001Z' }),
  ];
  for (const name of ['input', 'output']) {
    if (name in snapshot && !snapshot[name]?._redacted) {
      edits.push(() => {
        snapshot[name] = [snapshot[name], 'x'];
        snapshot[`${name}Hash`] = hashOfContent(snapshot[name]);
      });
    }
  }
  pick(edits)();
  return sealed({ ...r, snapshot });
}

// project puts records together by the documented rule.
export function project() {
  const steps = times(1 + below(5), (i) => ({ id: `${i}${text(8)}`, made: record(`e${i}${text(6)}`) }));
  const stepRegistry = steps.map(({ id, made }, sequence) => ({
    stepId: id, sequence, executionId: made.record.snapshot.executionId, certificateHash: made.record.certificateHash, stepLabel: text(20),
    stepType: 'decision', recordedAt: createdAt, modelIdentity: { provider: word(), model: word() },
    ...(sequence > 0 ? maybe(() => ({ parentStepIds: [steps[below(sequence)].id] })) : {}),
  }));
  const optional = { projectGoal: maybe(() => text(50)), projectSummary: maybe(() => text(50)), appName: maybe(word), frameworkName: maybe(word), tags: maybe(() => times(1 + below(3), word)) };
  return sealedProject({
    bundleType: 'cer.project.bundle.v1', version: '0.1', protocolVersion: '1.2.0', projectBundleId: word(), projectTitle: word(),
    startedAt: createdAt, completedAt: createdAt, totalSteps: steps.length, stepRegistry,
    embeddedBundles: Object.fromEntries(steps.map(({ id, made }) => [id, made.record])),
    integrity: { algorithm: 'sha256-canonical-json' },
    ...Object.fromEntries(Object.entries(optional).filter(([, v]) => v !== undefined)),
  });
}

// governed is a step of a governed execution.
export function governed() {
  const protectedFields = ['bundleType', 'version', 'schema', 'bundleId', 'threadId', 'step'];
  const r = {
    bundleType: 'cer.governed.execution.step.v1', version: '1', schema: { s: word() }, bundleId: word(), threadId: word(), step: { id: word(), v: value(4) },
    protectedSet: { stabilitySchemeId: 'jcs-v1', protectedSetId: 'nexart.governed.execution.step.v1.protected-set.v1', protectedFields },
  };
  return { ...r, certificateHash: hash(r) };
}
