// A second implementation of assignment, written from docs/reference/ruleset.md alone.
// Usage: node runner.mjs VECTORS_DIRECTORY. Prints one line a file; exits 1 on any difference.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { xxh3 } from "./xxh3.mjs";

const DIGESTS = { 1: (message) => createHash("sha256").update(message).digest(), 2: xxh3 };
const hash = (salt, type, unit, algo = 1) => {
  const bytes = DIGESTS[algo](Buffer.from(`${salt}\x1f${type}\x1f${unit}`, "utf8"));
  return { hi: bytes.readUInt32BE(0), lo: bytes.readUInt32BE(4), keyed: bytes.toString("hex", 0, 8) };
};
const bucket = (x, n) => Math.floor((x * n) / 2 ** 32); // x * n < 2^52: exact in a double
const enrolment = (salt, type, unit, algo = 1) => bucket(hash(salt, type, unit, algo).hi, 1_000_000);

const validUnit = (unit) =>
  typeof unit === "string" && unit !== "" && unit.isWellFormed() &&
  Buffer.byteLength(unit) <= 256 && !/[\u0000-\u001f\u007f-\u009f]/.test(unit);

const armOf = (runs, retired, mine) =>
  (retired ?? []).some(([start, end]) => start <= mine && mine < end) ? null : runs.find(([end]) => mine < end)[1];

// ------------------------------------------------------------------ conditions

class Unreadable extends Error {}
const check = (holds) => { if (!holds) throw new Unreadable(); };
const kind = (value) => {
  if (typeof value === "number") return Number.isFinite(value) && Math.abs(value) <= 2 ** 53 ? "number" : null;
  return typeof value === "string" || typeof value === "boolean" ? typeof value : null;
};
const order = (a, b) => (typeof a === "string" ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : a - b);
const negate = (truth) => (truth === null ? null : !truth);
const ORDERED = {
  lt: (seen, value) => order(seen, value) < 0, lte: (seen, value) => order(seen, value) <= 0,
  gt: (seen, value) => order(seen, value) > 0, gte: (seen, value) => order(seen, value) >= 0,
};

function compile(tree) {
  check(tree !== null && typeof tree === "object" && !Array.isArray(tree));
  if ("attribute" in tree) return leaf(tree);
  const [[word, parts], ...rest] = Object.entries(tree).length ? Object.entries(tree) : [[null]];
  check(rest.length === 0);
  if (word === "not") {
    const inner = compile(parts);
    return (attributes) => negate(inner(attributes));
  }
  check((word === "and" || word === "or") && Array.isArray(parts) && parts.length > 0);
  const compiled = parts.map(compile), decisive = word === "or";
  return (attributes) => {
    const truths = compiled.map((part) => part(attributes));
    if (truths.includes(decisive)) return decisive;
    return truths.includes(null) ? null : !decisive;
  };
}

function leaf({ attribute, op, value }) {
  check(typeof attribute === "string" && typeof op === "string");
  const same = (test) => (attributes) => (kind(attributes[attribute]) === kind(value) ? test(attributes[attribute]) : null);
  if (op === "exists") {
    check(typeof value === "boolean");
    return (attributes) => ((attributes[attribute] ?? null) !== null) === value;
  }
  if (op === "in" || op === "not_in") {
    check(Array.isArray(value) && value.length > 0 && value.every((one) => kind(one) !== null));
    const inside = (seen) => (value.some((one) => kind(one) === kind(seen)) ? value.includes(seen) : null);
    return (attributes) => (op === "in" ? inside(attributes[attribute]) : negate(inside(attributes[attribute])));
  }
  check(kind(value) !== null);
  if (op === "eq" || op === "ne") return same((seen) => (seen === value) === (op === "eq"));
  if (op === "prefix" && typeof value === "string") return same((seen) => seen.startsWith(value));
  check(op in ORDERED && typeof value !== "boolean");
  return same((seen) => ORDERED[op](seen, value));
}

function readable(tree) {
  try { return compile(tree); } catch (error) { if (error instanceof Unreadable) return null; throw error; }
}

// ------------------------------------------------------------------ evaluation

function evaluate(ruleset, name, unit, attributes, pin) {
  const slot = ruleset.slots[name];
  const champion = (reason, model = slot.champion, exposed = false) =>
    ({ arm: "champion", reason, model: model && `${model.name} ${model.version}`, rollout: null, allocation: null, exposed });
  if (slot === undefined) return champion("UNKNOWN_SLOT", null);
  if (slot.kill) return champion("KILLED", slot.kill.model);
  const { rollout, unit: type } = slot;
  const known = !rollout || (rollout.algo in DIGESTS && rollout.runs.at(-1)[0] === 10_000);
  if (!known) return champion("ERROR");
  if (!validUnit(unit)) return champion("INVALID_UNIT");
  if (!rollout) {
    const observed = slot.observe && enrolment(slot.observe.salt, type, unit) < slot.observe.ppm;
    return champion("NO_ROLLOUT", slot.champion, Boolean(observed));
  }
  const { algo } = rollout;
  const answer = (arm, reason) => {
    const model = rollout.arms[rollout.aa ? "champion" : arm];
    if (!model) return champion("ERROR");
    return { arm, reason, model: `${model.name} ${model.version}`, rollout: rollout.id, allocation: rollout.allocation, exposed: reason !== "OVERRIDE" };
  };
  const named = slot.overrides?.arms[hash(slot.overrides.key, type, unit).keyed];
  if (named) return answer(named, "OVERRIDE");
  if ((slot.holdouts ?? []).some((share) => enrolment(share.salt, type, unit) < share.ppm)) return champion("HOLDOUT");
  if (slot.layer) {
    const mine = bucket(hash(slot.layer.salt, type, unit).hi, 10_000);
    if (!slot.layer.ranges.some(([start, end]) => start <= mine && mine < end)) return champion("LAYER");
  }
  if (pin && pin.allocation === rollout.allocation)
    return pin.bucket < rollout.enrolled_ppm && pin.arm in rollout.arms ? answer(pin.arm, "PINNED") : champion("NOT_ENROLLED");
  if (enrolment(rollout.salt, type, unit, algo) >= rollout.enrolled_ppm) return champion("NOT_ENROLLED");
  if (rollout.eligible && readable(rollout.eligible)?.(attributes ?? {}) !== true) return champion("NOT_ELIGIBLE");
  const arm = armOf(rollout.runs, rollout.retired, bucket(hash(rollout.salt, type, unit, algo).lo, 10_000));
  return arm === null ? champion("RETIRED") : answer(arm, "SPLIT");
}

// ------------------------------------------------------------------ the vectors

const recompute = {
  hash: ({ salt, unit_type, unit }) => hash(salt, unit_type, unit),
  unit: ({ unit }) => ({ valid: validUnit(unit) }),
  bucket: ({ x, n }) => ({ bucket: bucket(x, n) }),
  runs: ({ runs, retired, bucket }) => ({ arm: armOf(runs, retired, bucket) }),
  condition: ({ tree, attributes }) => ({ readable: readable(tree) !== null, result: readable(tree) ? readable(tree)(attributes) : false }),
  xxh3: ({ message, times }) => ({ digest: xxh3(Buffer.from(message.repeat(times), "utf8")).toString("hex") }),
  ruleset: ({ slot, unit, attributes }, { ruleset }) => evaluate(ruleset, slot, unit, attributes, null),
  algo: ({ slot, unit, attributes }, { ruleset }) => evaluate(ruleset, slot, unit, attributes, null),
  pin: ({ slot, unit, pin }, { ruleset }) => evaluate(ruleset, slot, unit, null, pin),
  ramp: ({ unit }, [{ rulesets }]) => {
    const answers = rulesets.map((ruleset) => evaluate(ruleset, "s", unit, null, null));
    return { arms: answers.map(({ arm }) => arm), reasons: answers.map(({ reason }) => reason) };
  },
};
let wrong = 0;
for (const file of readdirSync(process.argv[2]).sort()) {
  const content = JSON.parse(readFileSync(join(process.argv[2], file), "utf8"));
  const cases = content.cases ?? content, name = basename(file, ".json");
  for (const one of cases) {
    const found = recompute[name](one, content);
    const differs = Object.keys(found).filter((key) => !isDeepStrictEqual(found[key], one[key]));
    if (differs.length) { wrong += 1; console.error(name, JSON.stringify(one), "found", JSON.stringify(found)); }
  }
  console.log(name, cases.length);
}
process.exit(wrong ? 1 : 0);
