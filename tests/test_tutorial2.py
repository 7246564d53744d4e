"The second tutorial in a real JupyterLab, where its files are: in the folder SYNQ_DATA, or beside the checkout"
import pytest
from test_jupyterlab import DATA, LIVE, SIZE, all_ran, check_cells, lab, saved_cells, start, until

FILES = 'resnet20.safetensors', 'test_8983.npz'

@pytest.mark.skipif(not all((DATA/f).is_file() for f in FILES), reason=f'needs a folder with {" and ".join(FILES)}')
def test_all_cells_run(lab, browser, artefacts):
    with browser.new_page(viewport=SIZE) as page:
        start(page, lab[0](LIVE))
        status = page.locator('.jp-Notebook-ExecutionIndicator').first
        try: until(lambda: status.get_attribute('data-status')=='idle' and all_ran(page), 3000, 'Run All Cells')
        finally: page.screenshot(path=artefacts/'three_ideas.png')
        check_cells(saved_cells(page, lab[1]/LIVE))
