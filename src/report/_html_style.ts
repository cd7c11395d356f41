/** Style of the HTML report, light and dark. */
export const STYLE = `
:root { color-scheme: light dark; --bg: #fff; --fg: #1d2025; --dim: #667; --line: #d8dbe0; --panel: #f5f6f8;
  --ok: #1a7f37; --bad: #c4232f; --warn: #9a6700; --accent: #2456c9; --op: #6f8fd8; --step: #9db8a0; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #14171c; --fg: #e2e5ea; --dim: #98a0ad; --line: #333a45; --panel: #1d2229;
    --ok: #57c46f; --bad: #ff7b84; --warn: #e0b04a; --accent: #86aaff; --op: #47629f; --step: #4d6a52; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); font: 14px/1.45 system-ui, sans-serif; }
header, main { max-width: 1200px; margin: 0 auto; padding: 12px 20px; }
h1 { font-size: 18px; margin: 4px 0; } h2 { font-size: 16px; margin: 16px 0 6px; } h3 { font-size: 14px; margin: 14px 0 4px; }
a { color: var(--accent); } .dim { color: var(--dim); }
.bar { display: flex; flex-wrap: wrap; gap: 8px; margin: 10px 0; align-items: center; }
input, select, button { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; padding: 5px 8px; }
input[type=search] { flex: 1; min-width: 200px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
table { border-collapse: collapse; width: 100%; } td { padding: 4px 8px; border-top: 1px solid var(--line); vertical-align: top; }
tr.row { cursor: pointer; content-visibility: auto; contain-intrinsic-size: auto 30px; } tr.row:hover, tr.row:focus { background: var(--panel); }
td.num { text-align: right; white-space: nowrap; color: var(--dim); }
.passed { color: var(--ok); } .failed, .crashed, .timeout { color: var(--bad); } .flaky, .skipped, .interrupted { color: var(--warn); }
.status { font-weight: 600; white-space: nowrap; }
.tag { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 0 7px; font-size: 12px; margin-left: 4px; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 8px 10px; overflow: auto; margin: 4px 0;
  font: 12.5px/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 480px; }
pre .del { color: var(--bad); } pre .add { color: var(--ok); } pre .here { background: color-mix(in srgb, var(--bad) 18%, transparent); display: block; }
.lanes { border: 1px solid var(--line); border-radius: 6px; margin: 6px 0; }
.lane { display: grid; grid-template-columns: 130px 1fr; border-top: 1px solid var(--line); min-height: 24px; } .lane:first-child { border-top: 0; }
.lane > span { padding: 2px 8px; color: var(--dim); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; border-right: 1px solid var(--line); }
.track { position: relative; overflow: hidden; }
.mark { position: absolute; top: 3px; bottom: 3px; min-width: 3px; border-radius: 3px; background: var(--op); padding: 0 4px; font-size: 11px; line-height: 18px;
  overflow: hidden; white-space: nowrap; border: 0; color: inherit; text-align: left; }
.mark.step { background: var(--step); } .mark.bad { background: var(--bad); color: var(--bg); } .mark.tick { width: 3px; padding: 0; background: var(--dim); }
.mark.leak { background: var(--warn); } .mark.fault { background: var(--bad); }
#detail { min-height: 1.5em; } .scale { display: flex; justify-content: space-between; color: var(--dim); font-size: 12px; margin-left: 130px; }
`;
