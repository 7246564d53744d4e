"A run report as its reader sees it: from disk, wide and narrow, light and dark, without a network"
import pytest
from synq_nb.cli import main

CONTRAST = """() => {
  const rgb = s => s.match(/[\\d.]+/g).map(Number);
  const linear = v => v<=.04045 ? v/12.92 : ((v+.055)/1.055)**2.4;
  const lum = c => c.slice(0, 3).map(v => linear(v/255)).reduce((a, v, i) => a+v*[.2126, .7152, .0722][i], 0);
  const back = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length<4 || c[3]>0) return c }
    return [255, 255, 255] };
  const ratio = e => {
    const [a, b] = [lum(rgb(getComputedStyle(e).color)), lum(back(e))].sort((x, y) => y-x);
    return (a+.05)/(b+.05) };
  const texts = [...document.querySelectorAll('h1, h2, p, td, th, pre')].filter(e => e.textContent.trim());
  return Math.min(...texts.map(ratio)) }"""

@pytest.fixture(scope='module')
def report(tmp_path_factory):
    run = tmp_path_factory.mktemp('report')/'run'
    assert main(f'quantize --model digits --wbits 3 --abits 3 --n 512 --iters 30 --epochs 4 --out {run}'.split())==0
    assert main(['eval', str(run)])==0
    return run/'report.html'

@pytest.mark.parametrize('width', (1280, 400))
@pytest.mark.parametrize('theme', ('light', 'dark'))
def test_report_reads_well(report, browser, artefacts, width, theme):
    with browser.new_page(viewport=dict(width=width, height=900), color_scheme=theme) as page:
        requests,said = [],[]
        page.on('request', lambda r: requests.append(r.url))
        page.on('console', lambda m: said.append(m.text))
        page.on('pageerror', lambda e: said.append(str(e)))
        page.goto(report.as_uri())
        page.screenshot(path=artefacts/f'report_{width}_{theme}.png', full_page=True)
        assert said==[] and all(r.startswith(('file:', 'data:')) for r in requests), (said, requests)
        assert page.evaluate('document.documentElement.scrollWidth')<=width
        assert page.evaluate(CONTRAST)>=4.5
        levels = [int(t[1]) for t in page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(e => e.tagName)")]
        assert levels[0]==1 and levels.count(1)==1 and all(b<=a+1 for a,b in zip(levels, levels[1:]))
        imgs = page.evaluate("[...document.images].map(i => [i.alt.length, i.naturalWidth])")
        assert len(imgs)==5 and all(alt>10 and w>100 for alt,w in imgs), imgs
        assert '/ 898' in page.inner_text('main') and 'synq quantize --model digits' in page.inner_text('pre')
