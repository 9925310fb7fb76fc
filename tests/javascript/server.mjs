// The unmodified @openfeature/server-sdk with its OFREP provider: evaluations in, details out.
// Usage: CONTROLLER_URL=… CONTROLLER_KEY=… node server.mjs < QUESTIONS. A question is
// {"type": "boolean|string|number|object", "flag": …, "default": …, "context": {…}}; a pause,
// {"type": "wait", "seconds": …}, whose answer is empty; or {"type": "crowd", "questions": […]}, of
// which so many are asked at once that a busy machine is quick enough for a limit.

import { readFileSync } from 'node:fs';
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OpenFeature } from '@openfeature/server-sdk';

const { CONTROLLER_URL, CONTROLLER_KEY } = process.env;
const headers = CONTROLLER_KEY ? [['Authorization', `Bearer ${CONTROLLER_KEY}`]] : [];
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: CONTROLLER_URL, headers }));
const client = OpenFeature.getClient();
const ask = {
  boolean: client.getBooleanDetails.bind(client),
  string: client.getStringDetails.bind(client),
  number: client.getNumberDetails.bind(client),
  object: client.getObjectDetails.bind(client),
};

const AT_ONCE = 16;
const evaluate = ({ type, flag, default: given, context }) => ask[type](flag, given, context);

const answers = [];
for (const question of JSON.parse(readFileSync(0, 'utf8'))) {
  if (question.type === 'wait') {
    await new Promise((resolve) => setTimeout(resolve, 1000 * question.seconds, answers.push({})));
    continue;
  }
  const asked = question.type === 'crowd' ? question.questions : [question];
  for (let first = 0; first < asked.length; first += AT_ONCE) {
    answers.push(...(await Promise.all(asked.slice(first, first + AT_ONCE).map(evaluate))));
  }
}
console.log(JSON.stringify(answers));
await OpenFeature.close();
