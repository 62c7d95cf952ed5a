// NexArt's own package as a peer of the bench: it does what it is told, over and
// over, and says how long that took. A line asked, a line answered, both JSON.
// Usage: node nexart.mjs, in a folder where the package is installed.
import { createInterface } from 'node:readline';
import { createSnapshot, sealCer, verifyCer } from '@nexart/ai-execution';

const seal = (facts, createdAt) => sealCer(createSnapshot(facts), { createdAt });

// What can be asked for; each returns a function that does the work once.
const works = {
  verify({ text }) {
    const bytes = Buffer.from(text);
    return () => {
      if (!verifyCer(JSON.parse(bytes.toString('utf8'))).ok) throw new Error('refused');
    };
  },
  seal({ facts, createdAt }) {
    return () => {
      if (JSON.stringify(seal(facts, createdAt)).length === 0) throw new Error('nothing');
    };
  },
};

let work = null;
const answers = {
  // A record, so that both sides are seen to make the same one.
  hash: ({ facts, createdAt }) => ({ hash: seal(facts, createdAt).certificateHash }),
  // What is to be done from now on; long enough before it counts for the
  // compiler to have seen it.
  prepare: (ask) => {
    work = works[ask.work](ask);
    for (let i = 0; i < ask.times; i++) work();
    return {};
  },
  turn: ({ times }) => {
    const began = process.hrtime.bigint();
    const cpu = process.cpuUsage();
    for (let i = 0; i < times; i++) work();
    const { user, system } = process.cpuUsage(cpu);
    return { wall: Number(process.hrtime.bigint() - began), cpu: (user + system) * 1000 };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const ask = JSON.parse(line);
  process.stdout.write(JSON.stringify(answers[ask.do](ask)) + '\n');
}
