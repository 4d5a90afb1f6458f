// One HTTPS request with a client certificate: a job as JSON on stdin, `{"status", "headers", "body"}` or `{"error"}` on
// stdout. A job has `url`, `ca` (PEM of whom to trust), `cert` and `key` (PEM, absent for no certificate), `headers` and `body`.

import { request } from 'node:https';

const { url, body, headers, ...tls } = JSON.parse(Buffer.concat(await Array.fromAsync(process.stdin)));

const seen = await new Promise((resolve) => {
  const asked = request(url, { method: 'POST', headers, ...tls }, async (response) => {
    try {
      const parts = await Array.fromAsync(response);
      resolve({ status: response.statusCode, headers: response.headers, body: String(Buffer.concat(parts)) });
    } catch (error) {
      resolve({ error: String(error) });
    }
  });
  asked.on('error', (error) => resolve({ error: String(error) }));
  asked.end(body);
});
process.stdout.write(JSON.stringify(seen));
