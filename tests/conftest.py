"A browser, for the tests that look at pages, and the order of all tests"
import os, shutil
from pathlib import Path
import pytest

FLAGS = ('--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking '
         '--disable-component-update --disable-sync').split()

LONG = 'test_tutorial2', 'test_jupyterlab' # minutes each

def pytest_collection_modifyitems(items):
    "The longest first, so that no worker waits for them at the end"
    items.sort(key=lambda item: item.path.stem not in LONG)

@pytest.fixture(scope='session')
def artefacts():
    "Folder for screenshots"
    folder = Path(os.environ.get('SYNQ_ARTEFACTS') or Path(__file__).parent/'artefacts')
    folder.mkdir(parents=True, exist_ok=True)
    return folder

@pytest.fixture(scope='session')
def browser():
    "Headless Chromium; the test is skipped where there is none"
    sync_api = pytest.importorskip('playwright.sync_api', reason='needs the package playwright')
    names = 'chromium', 'chromium-browser', 'google-chrome'
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None: pytest.skip('needs Chromium')
    launch = dict(executable_path=chromium, args=FLAGS)
    with sync_api.sync_playwright() as pw, pw.chromium.launch(**launch) as browser: yield browser
