"Every notebook as a local web page, from its stored outputs: python .ci/site.py [--out _site]"
import base64, html, os, re, yaml
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
a { color: #0060a0 } h1,h2,h3 { line-height: 1.2 } img,svg { max-width: 100% }
blockquote { margin: 0 0 1em; color: #555; font-size: 1.1em }
main { max-width: 56em; padding: 1em; min-width: 0 }
pre { overflow-x: auto; font-size: .82em; line-height: 1.4; padding: .6em .8em; margin: .5em 0 }
.highlight pre,.text_cell_render pre { background: #f5f6f8; border-left: 3px solid #0072B2 }
code { font-family: ui-monospace, monospace } .input_area + .output_wrapper { margin-top: 0 }
.output_subarea,.rendered_html { overflow-x: auto } .output_subarea pre { margin: 0 }
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

def sections():
    "Pairs of section title and its notebooks, in reading order"
    for entry in yaml.safe_load((NBS/'_quarto.yml').read_text())['website']['sidebar']['contents']:
        if isinstance(entry, str): yield None,[entry]
        else: yield entry['section'],[entry[k] for k in ('href',) if k in entry]+entry['contents']

def math(tex, inline):
    "An equation as an image, its source as the text"
    eq = ziamath.Latex(tex.replace(r'\mathbb 1', '𝟙'), size=18, inline=inline)
    look = f'style="vertical-align:{eq.getyofst():.1f}px"' if inline else 'class="display"'
    data = base64.b64encode(eq.svg().encode()).decode()
    return f'<img alt="{html.escape(tex)}" {look} src="data:image/svg+xml;base64,{data}">'
IPythonRenderer.inline_math = lambda self, body: math(body, True)
IPythonRenderer.block_math  = lambda self, body: math(body, False)

def shown(nb):
    "`nb` without hidden cells and directive lines"
    cells,nb.cells = nb.cells,[]
    for c in cells:
        lines = re.match(r'(?:#\s*\|.*\n?)*', c.source).group() if c.cell_type=='code' else ''
        if re.search(r'\|\s*(hide|default_exp)\b', lines): continue
        c.metadata.clear()
        c.source = c.source[len(lines):].strip('\n')
        if 'echo: false' in lines: c.metadata['transient'] = {'remove_source': True}
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

@call_parse
def main(out:str='_site'): # Folder of the pages
    "Write the site"
    exporter = HTMLExporter(template_name='basic', exclude_anchor_links=True, exclude_input_prompt=True,
                            exclude_output_prompt=True)
    exporter.log.setLevel('ERROR') # plots have no alternative text
    pages = {NBS/f: shown(nbformat.read(NBS/f, 4)) for _,fs in sections() for f in fs}
    titles = {p: html.escape(re.search('^# (.+)', nb.cells[0].source, re.M)[1]) for p,nb in pages.items()}
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
        dest = out/p.relative_to(NBS).with_suffix('.html')
        dest.parent.mkdir(parents=True, exist_ok=True)
        up = '../'*(len(p.relative_to(NBS).parts)-1)
        dest.write_text(PAGE.format(title=titles[p], up=up, nav=nav, body=body, around=around))
    (out/'style.css').write_text(CSS+HtmlFormatter().get_style_defs('.highlight'))
    print(f'{len(pages)} pages: {out/"index.html"}')
