// An OAuth server for the tests: oidc-provider, which is a certified one, and a page that mints
// tokens without a login. Prints its URL once it listens, and ends with the process that started it.
//
//   /mint?sub=&scope=&format=opaque|jwt&alg=&aud=&ttl=   a token of the provider's own
//   /forge?…&alg=&kid=&typ=                             claims of the test's own, signed with the provider's keys
//   /revoke?token=                                      an opaque token ends
//   /rotate                                             a new set of keys for tokens to come
import { createHmac, webcrypto } from "node:crypto";
import { createServer } from "node:http";

// What Node 18, Debian 12's, has elsewhere or not at all.
globalThis.crypto ??= webcrypto;
URL.parse ??= (url, base) => (URL.canParse(url, base) ? new URL(url, base) : null);
const { SignJWT, exportJWK, generateKeyPair } = await import("jose");
const { Provider } = await import("oidc-provider");

const ALGORITHMS = ["RS256", "ES256", "EdDSA"];
const AUDIENCE = "urn:switchboard";

const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

let generation = 0;
let privateKeys;
let provider;
let callback;
await rotate();

async function rotate() {
  generation += 1;
  privateKeys = Object.fromEntries(
    await Promise.all(
      ALGORITHMS.map(async (alg) => [alg, (await generateKeyPair(alg, { extractable: true })).privateKey]),
    ),
  );
  const keys = await Promise.all(
    ALGORITHMS.map(async (alg) => ({
      ...(await exportJWK(privateKeys[alg])),
      alg,
      kid: `${alg}-${generation}`,
      use: "sig",
    })),
  );
  provider = new Provider(issuer, configuration(keys));
  callback = provider.callback();
}

function configuration(keys) {
  const user = { redirect_uris: ["https://page.test/"], token_endpoint_auth_method: "none" };
  const resource = { redirect_uris: [], response_types: [], grant_types: [] };
  return {
    jwks: { keys },
    enabledJWA: { idTokenSigningAlgValues: ALGORITHMS },
    clients: [
      { client_id: "page", ...user },
      { client_id: "switchboard", client_secret: "p&ss:w%rd", ...resource },
    ],
    scopes: ["remote_server", "profile"],
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
    },
  };
}

async function mint({ sub, scope, format = "opaque", alg = "RS256", aud = AUDIENCE, ttl = "600" }) {
  const client = await provider.Client.find("page");
  const grant = new provider.Grant({ accountId: sub, clientId: "page" });
  grant.addResourceScope(aud, scope);
  const token = new provider.AccessToken({
    accountId: sub,
    client,
    expiresIn: Number(ttl),
    grantId: await grant.save(),
    gty: "authorization_code",
    scope,
  });
  token.resourceServer = new provider.ResourceServer(aud, {
    accessTokenFormat: format,
    audience: aud,
    jwt: { sign: { alg } },
    scope,
  });
  return token.save();
}

async function revoke({ token }) {
  await (await provider.AccessToken.find(token)).destroy();
  return "revoked";
}

async function forge({ alg = "RS256", kid = `${alg}-${generation}`, typ = "at+jwt", ...given }) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: issuer, aud: AUDIENCE, exp: now + 600, scope: "remote_server", ...given };
  for (const time of ["exp", "nbf"]) {
    if (time in given) claims[time] = now + Number(given[time]);
  }
  const head = { alg, kid, typ };
  if (alg in privateKeys) return new SignJWT(claims).setProtectedHeader(head).sign(privateKeys[alg]);
  // What no library wants to make: no signature, or one with the public key as a shared secret.
  const text = [head, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  if (alg === "none") return `${text}.`;
  const shared = (await exportJWK(privateKeys.RS256)).n;
  return `${text}.${createHmac("sha256", shared).update(text).digest("base64url")}`;
}

const pages = { "/mint": mint, "/revoke": revoke, "/forge": forge, "/rotate": rotate };

server.on("request", async (request, response) => {
  const url = new URL(request.url, issuer);
  const page = pages[url.pathname];
  if (!page) return callback(request, response);
  try {
    response.end(await page(Object.fromEntries(url.searchParams)));
  } catch (error) {
    response.writeHead(500).end(error.stack);
  }
});

const parent = process.ppid;
setInterval(() => process.ppid === parent || process.exit(), 1000);
console.log(issuer);
