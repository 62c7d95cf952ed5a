package htmlreport

// styleSheet is the document's one style sheet: static, so that its digest stands in the
// document's policy. Colour repeats what shape and words say, and never says it alone.
const styleSheet = `
:root{color-scheme:light dark;--bg:#ffffff;--ink:#1a1d21;--soft:#525b66;--line:#c9d0d8;--tint:#f5f7f9;--pass:#0b5d34;--fail:#9c1420;--open:#6b4700;--none:#525b66;--passbg:#eaf5ee;--failbg:#fcecec;--openbg:#fdf4e0}
@media (prefers-color-scheme:dark){:root{--bg:#14171a;--ink:#e7eaed;--soft:#a9b3bd;--line:#3c444d;--tint:#1c2126;--pass:#6fd39a;--fail:#ff9b96;--open:#f0bd62;--none:#a9b3bd;--passbg:#16281e;--failbg:#2f191a;--openbg:#2b2313}}
*{box-sizing:border-box}
html{font:16px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Liberation Sans","DejaVu Sans",sans-serif;background:var(--bg);color:var(--ink);-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:62rem;overflow-wrap:anywhere}
h1,h2,h3,h4,p,dl,dd,ol,ul,figure{margin:0;padding:0}
h1{font-size:1.6rem;line-height:1.25;margin:.2rem 0 .75rem}
h2{font-size:1.15rem;line-height:1.3;margin:2.25rem 0 .75rem;padding-bottom:.3rem;border-bottom:2px solid var(--ink)}
h3,h4{font-size:1rem;margin:1.25rem 0 .5rem}
.many section>h3{border-bottom:1px solid var(--ink);padding-bottom:.25rem}
p+p{margin-top:.5rem}
code{font:.86em/1.45 ui-monospace,"Cascadia Mono",Menlo,Consolas,"Liberation Mono","DejaVu Sans Mono",monospace}
bdi{unicode-bidi:isolate}
.kind{font-size:.8rem;letter-spacing:.08em;text-transform:uppercase;color:var(--soft)}
.soft{color:var(--soft)}
.small{font-size:.85rem}
.banner{border:2px solid;border-left-width:.6rem;border-radius:.25rem;padding:.9rem 1rem 1rem;margin:.5rem 0 1rem}
.banner .word{display:flex;align-items:center;gap:.6rem;font-size:1.5rem;font-weight:700;line-height:1.2}
.banner .headline{margin-top:.4rem;color:var(--ink);font-weight:600}
.banner svg{width:2rem;height:2rem;flex:none}
.take{color:var(--open)}.pass{color:var(--pass)}.fail{color:var(--fail)}.open{color:var(--open)}.none{color:var(--none)}
.banner.pass{background:var(--passbg)}.banner.fail{background:var(--failbg)}
.badge{display:inline-flex;align-items:baseline;gap:.35rem;font-weight:600;font-size:.85rem;line-height:1.3}
.badge svg{width:1.05rem;height:1.05rem;flex:none;align-self:center}
.mark{fill:var(--bg);stroke:currentColor;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.verdicts{display:grid;grid-template-columns:repeat(auto-fit,minmax(16rem,1fr));gap:.75rem}
.verdicts>div{border:1px solid var(--line);border-radius:.25rem;padding:.75rem .9rem;background:var(--tint)}
.verdicts h3,.verdicts h4{margin:0 0 .35rem}
.verdicts p{font-size:.92rem}
.told>div{display:grid;grid-template-columns:9.5rem 1fr;gap:0 1rem;padding:.5rem 0;border-bottom:1px solid var(--line)}
.told>div:last-child{border-bottom:0}
.told dt{font-weight:600}
.told .by{color:var(--soft);font-size:.8rem;margin-top:.15rem}
.facts>div{display:grid;grid-template-columns:12rem 1fr;gap:0 1rem;padding:.3rem 0;border-bottom:1px solid var(--line)}
.facts>div:last-child{border-bottom:0}
.facts dt{color:var(--soft)}
.chain{display:grid;grid-template-columns:minmax(0,25rem) minmax(0,1fr);gap:1.5rem;align-items:start}
.chain>svg{width:100%;height:auto;display:block}
.chain ol{list-style:none;font-size:.9rem}
.chain li{padding:.45rem 0;border-bottom:1px solid var(--line)}
.chain li p{margin:0}
.box{fill:var(--tint);stroke:var(--ink);stroke-width:1.2}
.box.gone{stroke:var(--soft);stroke-dasharray:4 4;fill:none}
.edge{fill:none;stroke:currentColor;stroke-width:2.5}
.edge.open,.edge.take,.edge.none{stroke-dasharray:2 5}
.edge.fail{stroke-dasharray:9 5}
svg text{fill:var(--ink);font:12px system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Liberation Sans","DejaVu Sans",sans-serif;direction:ltr;unicode-bidi:bidi-override}
svg .t1{font-weight:700;font-size:13px}
svg .t2{fill:var(--soft);font-size:11px}
svg .t3{font-size:11.5px;font-weight:600;fill:currentColor}
table{border-collapse:collapse;width:100%;font-size:.9rem;table-layout:fixed}
caption{text-align:left;color:var(--soft);padding-bottom:.4rem;font-size:.85rem}
th,td{text-align:left;vertical-align:top;padding:.5rem .75rem .5rem 0;border-bottom:1px solid var(--line);font-weight:400}
thead th{font-weight:600;border-bottom:2px solid var(--line)}
.c1{width:32%}.c2{width:68%}
th code{font-weight:600}
td p,th p{margin:0 0 .15rem}
td .l{color:var(--soft)}
footer{margin-top:2.5rem;padding-top:.75rem;border-top:2px solid var(--ink);font-size:.85rem;color:var(--soft)}
.records{padding-left:1.4rem}
.records li{margin:.25rem 0}
.records .badge{margin-right:.6rem;min-width:7.5rem}
.record+.record{margin-top:3.5rem;border-top:4px double var(--line);padding-top:1.5rem}
.about{font-size:.85rem;color:var(--soft);margin-bottom:.75rem}
@media (max-width:44rem){.told>div,.facts>div{grid-template-columns:1fr;gap:.1rem}.chain{grid-template-columns:minmax(0,1fr)}.chain>svg{max-width:26rem;margin:0 auto}.c1{width:46%}.c2{width:54%}th code{font-size:.76rem}h1{font-size:1.35rem}.banner .word{font-size:1.3rem}}
@page{size:A4;margin:18mm 16mm}
@media print{:root{color-scheme:light;--bg:#ffffff;--ink:#000000;--soft:#444444;--line:#b5b5b5;--tint:#ffffff;--pass:#0b5d34;--fail:#9c1420;--open:#6b4700;--none:#444444;--passbg:#ffffff;--failbg:#ffffff;--openbg:#ffffff}
html{font-size:10.5pt}body{max-width:none;padding:0}h2,h3{break-after:avoid}.banner,.told>div,.facts>div,.verdicts>div,.chain>svg,.chain li,tr{break-inside:avoid}thead{display:table-header-group}.chain{grid-template-columns:8.2cm 1fr}.told>div{grid-template-columns:3.4cm 1fr}.facts>div{grid-template-columns:4.2cm 1fr}.record+.record{break-before:page}}
`
