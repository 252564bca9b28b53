// Shopify's own library as a judge: reads one question a line from standard input, writes one answer a line, in JSON.
//
// {"sign": body, "secret": key}                      -> {"signature": base64}
// {"verify": body, "secret": key, "headers": {...}}  -> {"valid": true | false, "reason": ..., "topic": ..., ...}
import "@shopify/shopify-api/adapters/node";

import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";

import { ApiVersion, LogSeverity, shopifyApi } from "@shopify/shopify-api";
import { createSHA256HMAC, HashFormat } from "@shopify/shopify-api/runtime";

globalThis.crypto ??= webcrypto; // Node 18, which Debian 12 has, does not show it by itself

async function answer(question) {
  if ("sign" in question) {
    return { signature: await createSHA256HMAC(question.secret, question.sign, HashFormat.Base64) };
  }
  const shopify = shopifyApi({
    apiKey: "key",
    apiSecretKey: question.secret,
    apiVersion: Object.values(ApiVersion)[0],
    hostName: "shop.example",
    isEmbeddedApp: false,
    logger: { level: LogSeverity.Error, log: () => {} }, // standard output is for the answers alone
  });
  const rawRequest = { method: "POST", url: "/webhooks/shopify", headers: question.headers };
  return shopify.webhooks.validate({ rawBody: question.verify, rawRequest });
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
