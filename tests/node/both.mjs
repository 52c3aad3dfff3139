// Shared by all clients' scripts: drives two sessions concurrently, with a result and a timeout for each step.
// Standard input: {"sessions": [{"who", "url"}], "site", "other"}. Standard output: {who: {step: value}}.

const STEP_MS = 20_000;

export const FACTS =
  "({size: [innerWidth, innerHeight], agent: navigator.userAgent, language: navigator.language})";

export const within = (work, ms = STEP_MS) => {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`not within ${ms} ms`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
};

// A barrier: resolves for all once all have arrived, or once one has failed.
class Barrier {
  constructor(size) {
    this.size = size;
    this.waiting = [];
    this.off = false;
  }

  arrive() {
    if (this.off) return Promise.resolve();
    const arrived = new Promise((done) => this.waiting.push(done));
    if (this.waiting.length === this.size) for (const done of this.waiting.splice(0)) done();
    return arrived;
  }

  abort() {
    this.off = true;
    for (const done of this.waiting.splice(0)) done();
  }
}

export const read = async () => {
  let text = "";
  for await (const part of process.stdin) text += part;
  return JSON.parse(text);
};

export const eventually = async (find, every = 5) => {
  for (;;) {
    const found = await find();
    if (found) return found;
    await new Promise((done) => setTimeout(done, every));
  }
};

// The size of a PNG, the first four bytes of anything else.
export const summary = (bytes) => {
  const data = Buffer.from(bytes);
  const png = data.subarray(1, 4).toString() === "PNG";
  return png ? ["PNG", data.readUInt32BE(16), data.readUInt32BE(20)] : data.subarray(0, 4).toString("latin1");
};

export const both = async (drive) => {
  const { sessions, ...rest } = await read();
  const stray = [];
  process.on("unhandledRejection", (error) => stray.push(String(error?.stack ?? error)));
  const barrier = new Barrier(sessions.length);
  const results = {};
  const driveOne = async (session) => {
    const mine = (results[session.who] = {});
    const step = async (name, work) => {
      try {
        mine[name] = await within(work());
      } catch (error) {
        mine[name] = { error: String(error?.message ?? error) };
      }
      return mine[name];
    };
    const page = (path) => `${rest.site}${path}?who=${session.who}`;
    try {
      await drive({ ...session, ...rest, step, page, together: () => within(barrier.arrive()) });
    } catch (error) {
      mine.failed = String(error?.stack ?? error);
      barrier.abort();
    }
  };
  await Promise.all(sessions.map(driveOne));
  if (stray.length) results.stray = stray;
  process.stdout.write(JSON.stringify(results), () => process.exit(0));
};
