"Every notebook as a local web page, from its stored outputs: python .ci/site.py [--out _site]"
import ast, base64, html, os, re, yaml
from pathlib import Path
from fastcore.script import call_parse
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer
from nbdev.config import get_config
from pygments.formatters import HtmlFormatter
import nbformat, ziamath

ROOT = Path(__file__).parents[1]
NBS = ROOT/'nbs'
CSS = '''* { box-sizing: border-box }
body { margin: 0; font: 17px/1.55 system-ui, sans-serif; color: #222 }
a { color: #0060a0 } h1,h2,h3 { line-height: 1.2 } img,svg { max-width: 100% } .output_png img { height: auto }
blockquote { margin: 0 0 1em; color: #555; font-size: 1.1em }
main { max-width: 66em; padding: 1em; min-width: 0 } .text_cell_render > * { max-width: 54em }
pre { white-space: pre-wrap; overflow-wrap: anywhere }
pre { font-size: .82em; line-height: 1.4; padding: .6em .8em; margin: .5em 0 }
.highlight pre,.text_cell_render pre { background: #f5f6f8; border-left: 3px solid #0072B2 }
code { font-family: ui-monospace, monospace } .input_area + .output_wrapper { margin-top: 0 }
.output_subarea,.rendered_html { overflow-x: auto }
.output_subarea pre { margin: 0 }
details { margin: .5em 0 } summary { cursor: pointer; color: #0060a0; font-size: .9em }
.here { border-left: 3px solid #ddd; padding-left: .8em; font-size: .9em }
.here ul { margin: .3em 0; padding-left: 1.2em }
.elsewhere { font-size: .85em; color: #555 }
figure { margin: .5em 0 } figure input { width: min(20em, 60vw); vertical-align: middle }
figure label { all: revert; display: block }
table { border-collapse: collapse; font-size: .9em }
td,th { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: left; overflow-wrap: normal }
.display { display: block; margin: 1em auto }
.around { display: flex; justify-content: space-between; gap: 1em; border-top: 1px solid #ddd; padding-top: 1em }
nav { padding: 0 1em; font-size: .93em } nav ul { list-style: none; padding: 0 } nav li { padding: .2em 0 }
nav a { text-decoration: none } nav li:first-child { font-weight: bold }
[aria-current] { font-weight: bold; color: #222 }
label { display: block; padding: .6em 1em; background: #0060a0; color: white; cursor: pointer }
#menu { position: absolute; opacity: 0 } #menu:focus-visible + label { outline: 3px solid #D55E00 }
#menu:not(:checked) ~ nav { display: none }
@media (min-width: 900px) {
  body { display: grid; grid-template-columns: 17em 1fr } label { display: none }
  #menu ~ nav, #menu:not(:checked) ~ nav { display: block; position: sticky; top: 0; height: 100vh; overflow-y: auto;
    border-right: 1px solid #ddd }
  main { padding: 1em 2.5em }
}
'''
PAGE = '''<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="{up}style.css"></head><body>
<input type="checkbox" id="menu"><label for="menu">☰ Contents</label><nav>{nav}</nav>
<main>{body}<p class="around">{around}</p></main></body></html>'''

TEMPLATE = '''{%- extends 'basic/index.html.j2' -%}
{% block codecell %}{% if cell.metadata.fold %}<details><summary>{{ cell.metadata.fold }}</summary>
{{ super() }}</details>{% else %}{{ super() }}{% endif %}{% endblock codecell %}'''
LONG = 15  # lines of library code that are shown; longer cells are folded

def sections():
    "Pairs of section title and its notebooks, in reading order"
    def file(entry): return entry if isinstance(entry, str) else entry['href']
    for entry in yaml.safe_load((NBS/'_quarto.yml').read_text())['website']['sidebar']['contents']:
        if isinstance(entry, str): yield None,[entry]
        else: yield entry['section'],[file(e) for e in ([entry] if 'href' in entry else [])+entry['contents']]

def numbered(page, title, kind=False):
    "A title with the number that the file's name begins with; with `kind`, the number of what"
    number = re.match(r'(\d+)_', page.name)
    what = ('Tutorial ' if page.parent.name=='tutorials' else 'Chapter ') if kind else ''
    return f'{what}{int(number[1])} · {title}' if number else title

def math(tex, inline):
    "An equation as an image, its source as the text"
    eq = ziamath.Latex(tex.replace(r'\mathbb 1', '𝟙'), size=18, inline=inline)
    look = f'style="vertical-align:{eq.getyofst():.1f}px"' if inline else 'class="display"'
    data = base64.b64encode(eq.svg().encode()).decode()
    return f'<img alt="{html.escape(tex)}" {look} src="data:image/svg+xml;base64,{data}">'
IPythonRenderer.inline_math = lambda self, body: math(body, True)
IPythonRenderer.block_math  = lambda self, body: math(body, False)

def defined(source):
    "Names that some code defines"
    names = [n for node in ast.parse(source).body
             for n in ([node.name] if hasattr(node, 'name') else
                       [t.id for t in getattr(node, 'targets', ()) if isinstance(t, ast.Name)])]
    return ', '.join(dict.fromkeys(names))

def folded(lines, source):
    "What stands in place of a cell until it is opened, or None for a cell that is always open"
    if 'code-fold: true' in lines: return (re.search(r'code-summary: *(.+)', lines) or ['', 'Code'])[1]
    length = len(source.splitlines())
    if re.search(r'\|\s*export', lines) and length>LONG: return f'{length} lines of the library: {defined(source)}'

def shown(nb):
    "`nb` without hidden cells and directive lines"
    cells,nb.cells = nb.cells,[]
    for c in cells:
        lines = re.match(r'(?:#\s*\|.*\n?)*', c.source).group() if c.cell_type=='code' else ''
        if re.search(r'\|\s*(hide|default_exp)\b', lines): continue
        c.metadata.clear()
        c.source = c.source[len(lines):].strip('\n')
        if 'echo: false' in lines: c.metadata['transient'] = {'remove_source': True}
        if c.cell_type=='code': c.metadata['fold'] = folded(lines, c.source)
        for o in c.get('outputs', []): o.get('data', {}).pop('application/vnd.jupyter.widget-view+json', None)
        if c.source or c.get('outputs'): nb.cells.append(c)
    return nb

def href(url, page, pages, repo):
    "A link between notebooks becomes one between pages; another file is linked in the repository"
    if re.match(r'[a-z]+:|#', url): return url
    path,*frag = url.split('#')
    places = (page.parent/path).resolve(),(ROOT/path).resolve() # the README's links start at the root
    file = next((f for f in places if f.exists()), None)
    if not file: raise FileNotFoundError(f'{page.name} links to {url}')
    if file in pages: new = os.path.relpath(file.with_suffix('.html'), page.parent)
    else: new = f'{repo}/blob/main/{file.relative_to(ROOT)}'
    return '#'.join([new, *frag])

def elsewhere(page, repo):
    "Links to the page's notebook: as a file, and to run"
    name,path = repo.split('github.com/')[1],page.relative_to(ROOT)
    places = {'Notebook': f'{repo}/blob/main/{path}',
              'Run it on Colab': f'https://colab.research.google.com/github/{name}/blob/main/{path}',
              'on Binder': f'https://mybinder.org/v2/gh/{name}/main?labpath={path}'}
    return '<p class="elsewhere">'+' · '.join(f'<a href="{u}">{t}</a>' for t,u in places.items())+'</p>'

def anchored(body):
    "Headings with the names that Jupyter gives them"
    def name(m): return re.sub(r'\s+', '-', re.sub('<.*?>', '', m[2]).strip()).replace('"', '&quot;')
    return re.sub('<h([23])>(.*?)</h[23]>', lambda m: f'<h{m[1]} id="{name(m)}">{m[2]}</h{m[1]}>', body)

def here(body):
    "Links to the sections of a page that has several, before the first of them"
    heads = re.findall('<h2 id="(.*?)">(.*?)</h2>', body)
    if len(heads)<3: return body
    rows = ''.join(f'<li><a href="#{i}">{re.sub("</?a.*?>", "", head)}</a>' for i,head in heads)
    contents = f'<details open class="here"><summary>On this page</summary><ul>{rows}</ul></details>'
    return body.replace('<h2 ', contents+'<h2 ', 1)

@call_parse
def main(out:str='_site'): # Folder of the pages
    "Write the site"
    exporter = HTMLExporter(template_name='basic', exclude_anchor_links=True, exclude_input_prompt=True,
                            exclude_output_prompt=True, raw_template=TEMPLATE)
    exporter.log.setLevel('ERROR') # plots have no alternative text
    pages = {NBS/f: shown(nbformat.read(NBS/f, 4)) for _,fs in sections() for f in fs}
    for p,nb in pages.items():
        nb.cells[0].source = re.sub('^# (.+)', lambda m: f'# {numbered(p, m[1], True)}', nb.cells[0].source, 1, re.M)
    heads = {p: re.search('^# (.+)', nb.cells[0].source, re.M)[1] for p,nb in pages.items()}
    titles = {p: html.escape(re.sub(r'^(Chapter|Tutorial) (?=\d+ · )', '', t)) for p,t in heads.items()}
    out,order,repo = Path(out),list(pages),get_config(ROOT).git_url
    for i,(p,nb) in enumerate(pages.items()):
        def link(f, text='{}'):
            here = ' aria-current=page' if f==p else ''
            return f'<a href="{href(os.path.relpath(f, p.parent), p, pages, repo)}"{here}>{text.format(titles[f])}</a>'
        def listed(section, files):
            head = '' if section in (None, titles[NBS/files[0]]) else f'<li>{section}'
            return f'<ul>{head}{"".join(f"<li>{link(NBS/f)}" for f in files)}</ul>'
        nav = ''.join(listed(*s) for s in sections())
        around = link(order[i-1], '← {}') if i else '<span></span>'
        if i+1<len(order): around += link(order[i+1], '{} →')
        body = exporter.from_notebook_node(nb)[0]
        body = re.sub('href="([^"]+)"', lambda m: f'href="{href(m[1], p, pages, repo)}"', body)
        body = here(anchored(body)).replace('</h1>', '</h1>'+elsewhere(p, repo), 1)
        dest = out/p.relative_to(NBS).with_suffix('.html')
        dest.parent.mkdir(parents=True, exist_ok=True)
        up = '../'*(len(p.relative_to(NBS).parts)-1)
        dest.write_text(PAGE.format(title=html.escape(heads[p]), up=up, nav=nav, body=body, around=around))
    (out/'style.css').write_text(CSS+HtmlFormatter().get_style_defs('.highlight'))
    print(f'{len(pages)} pages: {out/"index.html"}')
