import { jobCases } from "./_cases.ts";
import { openAgent } from "./_guest.ts";

jobCases("agent", openAgent);
