// The unmodified @openfeature/web-sdk with its OFREP provider, which asks for every flag at once.
// Usage: CONTROLLER_URL=… CONTROLLER_KEY=… node web.mjs, then one step a line on standard input and
// one answer a line on standard output:
//   {"do": "start", "context": {…}}    the answer names the provider's status
//   {"do": "context", "context": {…}}  another visitor
//   {"do": "get", "type": …, "flag": …, "default": …}
//   {"do": "poll"}                     ask again as the provider's own timer does
//   {"do": "requests"}                 status and ETag of every answer the service gave so far

import { createInterface } from 'node:readline';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature } from '@openfeature/web-sdk';

const POLL_MILLISECONDS = 100;
const { CONTROLLER_URL, CONTROLLER_KEY } = process.env;
const seen = [];

// Only what the wire said is noted down; the provider gets exactly what the service answered.
async function fetchImplementation(request, options) {
  const response = await fetch(request, options);
  const asked = request.headers.get('If-None-Match');
  seen.push({ status: response.status, etag: response.headers.get('ETag'), asked });
  return response;
}

const provider = new OFREPWebProvider({
  baseUrl: CONTROLLER_URL,
  headers: [['Authorization', `Bearer ${CONTROLLER_KEY}`]],
  cacheMode: 'disabled', // a browser's storage does not exist here
  pollInterval: POLL_MILLISECONDS,
  fetchImplementation,
});
const client = OpenFeature.getClient();
const get = {
  boolean: client.getBooleanDetails.bind(client),
  string: client.getStringDetails.bind(client),
  number: client.getNumberDetails.bind(client),
  object: client.getObjectDetails.bind(client),
};
const steps = {
  start: async ({ context }) => {
    await OpenFeature.setContext(context);
    try {
      await OpenFeature.setProviderAndWait(provider);
    } catch (error) {
      return { status: client.providerStatus, error: error.message };
    }
    return { status: client.providerStatus };
  },
  context: async ({ context }) => {
    await OpenFeature.setContext(context);
    return { status: client.providerStatus };
  },
  get: async ({ type, flag, default: fallback }) => get[type](flag, fallback),
  poll: async () => {
    for (const before = seen.length; seen.length === before; ) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS / 4));
    }
    return seen.at(-1);
  },
  requests: async () => seen,
};

for await (const line of createInterface({ input: process.stdin })) {
  const step = JSON.parse(line);
  console.log(JSON.stringify(await steps[step.do](step)));
}
await OpenFeature.close();
