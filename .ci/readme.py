"Write README.md from nbs/index.ipynb; with --check, only say whether it is up to date"
import os, re, sys, yaml
from pathlib import Path

os.chdir(Path(__file__).parents[1])
from nbconvert import MarkdownExporter
from nbdev.serve import proc_nbs

def readme():
    processed = proc_nbs('nbs', file_glob='index.ipynb', n_workers=0, force=True)
    body = MarkdownExporter().from_filename(processed/'index.ipynb')[0]
    front,body = re.match(r'-{3}\n(.*?)\n-{3}\n(.*)', body.lstrip(), re.S).groups()
    body = re.sub(r'```\n#\| echo: false.*?```\n', '', body, flags=re.S)
    body = re.sub(r'\]\((?!https?:|#)', '](nbs/', body).replace('](nbs/../', '](')  # links of nbs/ seen from the root
    body = re.sub(r'\n{3,}', '\n\n', re.sub('<!-- WARNING.*?-->', '', body)).strip()
    meta = yaml.safe_load(front)
    head = '<!-- generated from nbs/index.ipynb by .ci/readme.py -->'
    return '\n\n'.join([head, f"# {meta['title']}", meta['description'], body])+'\n'

if __name__=='__main__':
    new,file = readme(),Path('README.md')
    if '--check' not in sys.argv: file.write_text(new)
    elif not file.exists() or file.read_text()!=new:
        sys.exit('README.md differs from nbs/index.ipynb: run python .ci/readme.py')
