/** What this host has of vsock. */
import { LOOPBACK_CID } from "../../src/vmm/vsock.ts";

/** Whether machines of QEMU can have an address. */
export async function vhostWorks(device = "/dev/vhost-vsock"): Promise<boolean> {
  try {
    (await Deno.open(device, { read: true, write: true })).close();
    return true;
  } catch {
    return false; // missing, or not for this user: the report says where it was measured instead
  }
}

/** Whether this host can connect to itself. */
export function loopbackWorks(): boolean {
  const port = 0x6000_0000 + crypto.getRandomValues(new Uint16Array(1))[0]!;
  try {
    Deno.listen({ transport: "vsock", cid: LOOPBACK_CID, port }).close();
    return true;
  } catch {
    return false; // as above
  }
}
