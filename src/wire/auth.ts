import { concatBytes, toBytes } from "./bytes.ts";

/** The end of a conversation that makes a proof. */
export type ProofRole = "host" | "agent";

/** HMAC-SHA256(secret, role ‖ epoch ‖ nonce): shows that this end knows the secret without telling it. */
export async function makeProof(
  secret: Uint8Array,
  role: ProofRole,
  epoch: Uint8Array,
  nonce: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", secret.slice(), algorithm, false, ["sign"]);
  const text = concatBytes([toBytes(role), epoch, nonce]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, text));
}

/** Whether two byte strings are equal, in a time that depends only on their lengths. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}
