"OpenVINO and NNCF; skipped where they are not installed. The weekly workflow installs them"
import sys
from pathlib import Path
import pytest, torch
from synq_nb.all import *

pytest.importorskip('openvino')
sys.path.append(str(Path(__file__).parent.parent/'benchmarks'))

@pytest.mark.parametrize('name,shape', [('resnet20_cifar10', (3,32,32)), ('torchvision:mobilenet_v2', (3,96,96))])
def test_openvino_runs_our_files(name, shape, tmp_path):
    "Stored as bytes, all convolutions run as integers; stored as INT4 as well, the answers are ONNX Runtime's"
    from openvino_layers import compiled, measure
    from zoo import settle
    torch.manual_seed(0)
    teacher = settle(model_card(name).load(trained=False), shape)
    x = torch.randn(16, *shape)
    ints = convert(calibrate(quantize(teacher, 4, 8), x), x)
    for int4 in (True, False):
        file = export_onnx(ints, tmp_path/f'{int4}.onnx', x[:4], int4=int4)
        row = measure(compiled(file), file, x)
        assert row['same']>=15, row  # of 16: one may be a near tie
        if not int4: assert row['layers']['u8']==sum(isinstance(m, torch.nn.Conv2d) for m in teacher.modules()), row

def test_our_images_calibrate_nncf(tmp_path):
    "NNCF quantises the digits teacher with synthetic images; at most five answers of 898 are lost"
    nncf,openvino = pytest.importorskip('nncf'),pytest.importorskip('openvino')
    teacher,test = digits_teacher(),digits_data()[1]
    images = synthesize(teacher, 320, size=8, flip=False, iters=20, progress=False).images()
    model = openvino.Core().read_model(str(export_onnx(teacher, tmp_path/'float.onnx', images[:2])))
    net = nncf.quantize(model, nncf.Dataset([x[None].numpy() for x in images]))
    logits = torch.from_numpy(openvino.Core().compile_model(net, 'CPU')(test.tensors[0].numpy())[0])
    assert (logits.argmax(1)==test.tensors[1]).sum()>=evaluate(teacher, test).k-5
