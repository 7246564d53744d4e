"The pages made of the notebooks: every link leads somewhere, and nothing is fetched"
import re, struct, subprocess, sys
from html.parser import HTMLParser
from pathlib import Path
import pytest

ROOT = Path(__file__).parents[1]
NBS = ROOT/'nbs'
TUTORIALS = sorted(NBS.glob('tutorials/[0-9]*.ipynb'))
ORDER = [NBS/'index.ipynb', NBS/'tutorials/index.ipynb', *TUTORIALS, *sorted(NBS.glob('[0-9]*.ipynb'))]

class Tags(HTMLParser):
    "All tags with their attributes"
    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page.read_text())
    def handle_starttag(self, tag, attrs): self.tags.append((tag, dict(attrs)))

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp('site')
    subprocess.run([sys.executable, '.ci/site.py', '--out', out], cwd=ROOT, check=True)
    return out

def test_every_notebook_has_a_page_in_reading_order(site):
    assert set(ORDER)=={p for p in NBS.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts}
    pages = [site/p.relative_to(NBS).with_suffix('.html') for p in ORDER]
    assert set(site.rglob('*.html'))==set(pages)
    for page in pages:
        nav = re.search('<nav>(.*?)</nav>', page.read_text(), re.S)[1]
        assert [(page.parent/h).resolve() for h in re.findall('href="(.*?)"', nav)]==pages

def test_links_resolve_and_nothing_is_fetched(site):
    for page in site.rglob('*.html'):
        for tag,a in Tags(page).tags:
            url = a.get('src') or a.get('href') or a.get('data') or ''
            if tag!='a': assert not re.match(r'(https?:)?//', url), (page.name, tag, url)
            if url and not re.match('https?:|data:', url):
                path,_,frag = url.partition('#')
                to = (page.parent/path).resolve() if path else page
                assert to.exists() and not url.endswith('.ipynb'), (page.name, url)
                assert not frag or any(b.get('id')==frag for _,b in Tags(to).tags), (page.name, url)
        assert not re.search(r'(url\(|@import|\bimport\()\s*["\']?https?:', page.read_text()), page.name
    assert 'http' not in (site/'style.css').read_text()

def test_cells_are_shown_as_nbdev_shows_them(site):
    text = ''.join(p.read_text() for p in site.rglob('*.html'))
    assert not re.search(r'#\s?\|\s?(export|hide|default_exp|slow|echo)', re.sub('<.*?>', '', text))
    assert text.count('class="display"')>5

def test_every_tutorial_can_be_run_elsewhere():
    text = (NBS/'tutorials/index.ipynb').read_text()
    for p in TUTORIALS:
        for link in (f'main/nbs/tutorials/{p.name}', f'labpath=nbs/tutorials/{p.name}'):
            assert text.count(link)==1, link

def test_social_card():
    png = (NBS/'social-card.png').read_bytes()
    assert struct.unpack('>II', png[16:24])==(1200, 630) and len(png)<100_000

def test_browser(site, browser):
    with browser.new_page(viewport=dict(width=400, height=800)) as page:
        seen = []
        page.on('console', lambda m: seen.append(m.text) if m.type=='error' else None)
        page.on('pageerror', lambda e: seen.append(str(e)))
        page.on('request', lambda r: None if r.url.startswith(('file:', 'data:')) else seen.append(r.url))
        page.goto((site/'03_quantize.html').as_uri(), wait_until='networkidle')
        assert page.evaluate('document.documentElement.scrollWidth')<=400
        assert page.evaluate('[...document.images].every(i => i.naturalWidth>0)')
        page.click('label')
        page.click('nav a >> text=Synthesise')
        assert page.url.endswith('05_synthesize.html') and not seen
