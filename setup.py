"The requirements of settings.ini, as setuptools wants them; everything else is in pyproject.toml"
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

cfg = ConfigParser(delimiters='=')
cfg.read(Path(__file__).parent/'settings.ini', encoding='utf-8')
reqs = {k.removesuffix('requirements').rstrip('_'): v.split() for k,v in cfg['DEFAULT'].items()}
setup(install_requires=reqs.pop(''), extras_require=reqs)
