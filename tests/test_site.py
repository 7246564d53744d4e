"The pages made of the notebooks: every link leads somewhere, and nothing is fetched"
import json, re, struct, subprocess, sys, yaml
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
    assert not re.search(r'(?m)^#\s?\|\s?(export|hide|default_exp|slow|echo)', re.sub('<.*?>', '', text))
    assert text.count('class="display"')>5

def test_every_tutorial_can_be_run_elsewhere():
    text = (NBS/'tutorials/index.ipynb').read_text()
    for p in TUTORIALS:
        for link in (f'main/nbs/tutorials/{p.name}', f'labpath=nbs/tutorials/{p.name}'):
            assert text.count(link)==1, link

def head(path): return re.search('^# (.+)', ''.join(json.loads(path.read_text())['cells'][0]['source']), re.M)[1]

def test_pages_have_the_numbers_of_their_files(site):
    "In the title and in the list of pages, here and on the public site"
    sidebar = yaml.safe_load((NBS/'_quarto.yml').read_text())['website']['sidebar']['contents']
    texts = {e['href']: e['text'] for section in sidebar[1:] for e in section['contents']}
    for path in ORDER[2:]:
        name,kind = str(path.relative_to(NBS)),'Tutorial' if 'tutorials' in path.parts else 'Chapter'
        title = f'{int(path.name[:2])} · {head(path)}'
        assert texts[name]==title
        page = (site/name).with_suffix('.html').read_text()
        assert f'<h1>{kind} {title}</h1>' in page and f'aria-current=page>{title}</a>' in page, name

def test_long_pages_list_their_sections(site):
    for page in site.rglob('*.html'):
        text = page.read_text()
        sections = re.findall('<h2[^>]*>', text)
        listed = re.search('class="here">.*?</details>', text)
        assert (len(sections)>=3)==bool(listed), page.name
        if listed: assert len(set(re.findall('href="#(.*?)"', listed[0])))==len(sections), page.name

def test_pages_lead_to_their_notebook(site):
    for path in ORDER:
        name = str(path.relative_to(ROOT))
        text = (site/path.relative_to(NBS)).with_suffix('.html').read_text()
        for link in (f'/blob/main/{name}">Notebook', f'labpath={name}"',
                     f'colab.research.google.com/github/synq-nb/synq_nb/blob/main/{name}"'):
            assert link in text, (name, link)

def code(path): return [''.join(c['source']) for c in json.loads(path.read_text())['cells'] if c['cell_type']=='code']

def test_solutions_and_long_library_cells_are_folded(site):
    for path in ORDER:
        cells = code(path)
        text = (site/path.relative_to(NBS)).with_suffix('.html').read_text()
        solutions = sum('#| code-fold: true' in s for s in cells)
        long = sum(bool(re.match(r'#\s*\| *export', s)) and len(s.splitlines())>16 for s in cells)
        assert len(re.findall(r'<details><summary>\d+ lines of the library: ', text))>=long, path.name
        assert len(re.findall('<details><summary>(?!.*lines of the library)', text))==solutions, path.name

def test_code_that_is_not_to_be_shown_is_not(site):
    found = 0
    for path in ORDER:
        for source in code(path):
            if not source.startswith('#| echo: false'): continue
            text = re.sub('<.*?>', '', (site/path.relative_to(NBS)).with_suffix('.html').read_text())
            line = max(source.splitlines()[1:], key=len).strip()
            assert line not in text and line.split('=')[-1] not in text, (path.name, line)
            found += 1
    assert found

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

def test_nothing_is_cut_on_a_page(site, browser):
    "A line of a hundred characters fits, and longer ones wrap, in code and in outputs"
    with browser.new_page(viewport=dict(width=1280, height=800)) as page:
        page.goto((site/'15_cli.html').as_uri())
        for pre in ('.input_area pre', '.output_subarea pre'):
            box = page.locator(pre).first
            def height(n): return box.evaluate(f'e => (e.textContent = "x".repeat({n}), e.clientHeight)')
            assert height(100)==height(1)<height(400)
            assert box.evaluate('e => e.scrollWidth<=e.clientWidth')

def test_sliders_answer_without_a_kernel(site, browser):
    with browser.new_page(viewport=dict(width=1280, height=800)) as page:
        page.goto((site/'13_explore.html').as_uri())
        figures = page.locator('figure.synq-frames')
        assert figures.count()==5
        for figure in figures.all():
            assert figure.evaluate('e => e.outerHTML.length')<300_000
            slider,img = figure.get_by_role('slider'),figure.locator('img')
            assert slider.is_visible() and figure.locator('label').inner_text().split()[0]
            seen = []
            for key in ('Home', *['ArrowRight']*8):
                slider.press(key)
                seen.append((img.get_attribute('src'), img.get_attribute('alt'), figure.locator('output').inner_text()))
                assert img.evaluate('i => i.decode().then(() => i.naturalWidth)')>300 and seen[-1][1]
                assert slider.get_attribute('aria-valuetext') in (None, seen[-1][2])
            assert len({src for src,_,_ in seen})==len({value for _,_,value in seen})>=7

def test_the_public_site_adds_number_links_and_folds(tmp_path, browser):
    "The script that Quarto puts on every page, on a page like those that Quarto makes"
    html = yaml.safe_load((NBS/'_quarto.yml').read_text())['format']['html']
    file = tmp_path/'synq_nb/tutorials/05_deploy.html'
    file.parent.mkdir(parents=True)
    file.write_text('<meta charset="utf-8"><meta name="quarto:offset" content="../"><h1>On the device</h1>'
                    '<div class="cell"><details class="code-fold"><summary>Solution</summary><pre>1+1</pre></details>'
                    '<div class="cell-output"><pre>2</pre></div></div><h2 id="two-pairs">Two Pairs</h2>'
                    '<a href="#Two-Pairs">above</a>'+html['include-after-body']['text'])
    with browser.new_page() as page:
        page.goto(file.as_uri())
        assert page.inner_text('h1')=='Tutorial 5 · On the device'
        links = page.locator('.elsewhere a').evaluate_all('all => all.map(a => a.href)')
        assert len(links)==3 and all(url.endswith('nbs/tutorials/05_deploy.ipynb') for url in links)
        assert page.locator('text=above').get_attribute('href').endswith('#two-pairs')
        assert not page.locator('.cell-output').is_visible()
        page.click('summary')
        assert page.locator('.cell-output').is_visible()
