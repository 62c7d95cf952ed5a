// Hashes and signs as NexArt's attestation node does, with a key that is made from
// the seed.
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { bytes, pick, random, word } from './random.mjs';

// canonical is the RFC 8785 form. JSON.stringify spells strings and numbers so; it
// does not sort.
export function canonical(v) {
  if (v === null || typeof v !== 'object') return JSON.stringify(v);
  if (Array.isArray(v)) return `[${v.map(canonical).join(',')}]`;
  const members = Object.keys(v).sort().filter((k) => v[k] !== undefined);
  return `{${members.map((k) => `${JSON.stringify(k)}:${canonical(v[k])}`).join(',')}}`;
}

const sha256 = (text) => 'sha256:' + createHash('sha256').update(text).digest('hex');
export const hash = (v) => sha256(canonical(v));
export const hashOfContent = (v) => (typeof v === 'string' ? sha256(v) : hash(v));

// some is an object with only those members, of those that are there.
export const some = (v, names) => Object.fromEntries(names.filter((k) => k in v).map((k) => [k, v[k]]));

// sealed gives a record the hash over what it consists of.
const hashed = ['bundleType', 'version', 'createdAt', 'snapshot', 'context'];
export const sealed = (record) => ({ ...record, certificateHash: hash(some(record, hashed)) });

// What projectHash covers.
const project = [
  'bundleType', 'version', 'protocolVersion', 'projectBundleId', 'projectTitle', 'startedAt', 'completedAt', 'totalSteps', 'stepRegistry',
  'projectGoal', 'projectSummary', 'appName', 'frameworkName', 'tags',
];
export const sealedProject = (p) => ({ ...p, integrity: { ...p.integrity, projectHash: hash(some(p, project)) } });

export class Node {
  constructor(kid) {
    this.kid = kid;
    const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), bytes(32)]);
    this.key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  }
  sign(v) {
    return sign(null, Buffer.from(canonical(v)), this.key).toString('base64url');
  }
  // document is what the node serves as .well-known/nexart-node.json.
  document() {
    const key = createPublicKey(this.key);
    const { x } = key.export({ format: 'jwk' });
    const forms = {
      publicKey: x,
      publicKeyJwk: { kty: 'OKP', crv: 'Ed25519', x },
      publicKeySpkiB64: key.export({ format: 'der', type: 'spki' }).toString('base64'),
    };
    return { nodeId: 'node', activeKid: this.kid, keys: [{ kid: this.kid, alg: 'Ed25519', use: 'sig', status: 'active', revoked: false, ...forms }] };
  }
  // receipt returns a receipt over a hash, and its signature.
  receipt(certificateHash, protocolVersion) {
    const receipt = {
      attestationId: word(), attestedAt: '2026-11-22T00:00:01.000Z', attestorKeyId: this.kid, certificateHash, nodeId: 'node',
      nodeRuntimeHash: sha256(word()), protocolVersion, receiptVersion: 'attestation.receipt.v1', timestampType: 'node-issued',
    };
    return { receipt, signature: this.sign(receipt) };
  }
  // envelope returns an envelope over a record, and its signature.
  envelope(record, protocolVersion) {
    const attestation = {
      attestationId: word(), attestedAt: '2026-11-22T00:00:01.000Z', kid: this.kid, nodeRuntimeHash: sha256(word()), protocolVersion,
    };
    const names = hashed.filter((k) => k in record).sort(() => random() - 0.5);
    const verificationEnvelope = {
      algorithm: 'Ed25519', attestation, canonicalization: 'jcs', envelopeType: 'nexart.verification.envelope.v2', kid: this.kid,
      scope: 'whitelist', signedFields: { attestation: Object.keys(attestation), bundle: names }, specVersion: 'v0.16.1',
    };
    return { verificationEnvelope, verificationEnvelopeSignature: this.sign({ attestation, bundle: some(record, names) }) };
  }
}

// around puts signatures beside a record: into a package, or into the record.
export const around = (record, signatures) => pick([{ cer: record, ...signatures }, { ...record, ...signatures }]);
