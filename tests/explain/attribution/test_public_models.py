"""Models as people have them: wrapped, quantised, checkpointed, in half precision, of many outputs; and as they came, after."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from explain import metrics
from explain.attribution.layers import candidate_layers
from explain.attribution.methods import METHODS, heatmaps
from explain.models import ExplainError, undisturbed

IMAGES = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
GRADIENT = [name for name in METHODS if name != "occlusion"]
LAYERED = [name for name, method in METHODS.items() if method.layers]


class Net(nn.Module):
    """A body, further layers, a head; `way`: what happens between them."""

    def __init__(self, way: str = ""):
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.more = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 4)
        self.idle, self.aside, self.scale = nn.ReLU(), nn.ReLU(), nn.Parameter(torch.rand(6, 1, 1))
        self.way = way

    def forward(self, x):
        if self.way == "in place":
            x = x.sub_(0.5)
        x = self.body(x)
        if self.way == "aside":
            x = x * self.aside(self.scale)
        if self.way == "mixed":
            x = self.aside(x) * self.aside(self.scale)
        if self.way == "detached":
            x = x.detach()
        if self.way.startswith("checkpoint"):
            x = checkpoint(self.more, x, use_reentrant=self.way.endswith("reentrant"))
        elif self.way == "no_grad":
            with torch.no_grad():
                x = self.more(x)
        else:
            x = self.more(x)
        found = self.head(x.mean((2, 3)))
        return {"tuple": (found, x), "dict": {"logits": found}, "flat": found[:, 0], "answer": found.argmax(1, keepdim=True)}.get(
            self.way, found)


def made(way: str = "") -> Net:
    return Net(way).eval()


def given(method: str, layer: str = "body") -> list[str] | None:
    return [layer] if METHODS[method].layers else None


def maps_of(model: nn.Module, method: str, images: torch.Tensor = IMAGES) -> torch.Tensor:
    found, = heatmaps(model, images, 1, given(method), method).values()
    return found


# --- what autograd cannot see -----------------------------------------------------------------------------------------

_SEEN = "depend on layer 'body', but not through autograd|do not depend on the image through autograd"


def quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is to move to another package
        return torch.ao.quantization.quantize_dynamic(made(), {nn.Linear}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad", "ignore:quantized..linear_dynamic")
@pytest.mark.parametrize("method", GRADIENT)
@pytest.mark.parametrize(("model", "says"), [
    (made("detached"), _SEEN), (made("no_grad"), _SEEN),
    (made("checkpoint, reentrant"), "cannot be differentiated: .*checkpoint"),
    (quantised(), f"{_SEEN}|cannot be differentiated: ")],
    ids=["detached", "no_grad", "reentrant checkpoint", "quantised head"])
def test_a_layer_without_gradient_is_one_clear_error_and_no_map_of_zeros(model, says, method):
    with pytest.raises(ExplainError, match=says) as caught:
        maps_of(model, method)
    assert "occlusion" in str(caught.value) and "\n" not in str(caught.value)
    assert maps_of(model, "occlusion").any()


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_that_autograd_sees_through_changes_nothing(method):
    torch.testing.assert_close(maps_of(made("checkpoint"), method), maps_of(made(), method))


def test_a_layer_inside_a_checkpoint_is_right_or_refused():
    inside = heatmaps(made("checkpoint"), IMAGES, 1, ["more"])["more"]
    torch.testing.assert_close(inside, heatmaps(made(), IMAGES, 1, ["more"])["more"])
    with pytest.raises(ExplainError, match="cannot be differentiated: .*choose a layer outside of .*torch.utils.checkpoint"):
        heatmaps(made("checkpoint"), IMAGES, 1, ["more.0"])


def test_a_gradient_of_zero_is_a_map_of_zeros():
    model = made()
    with torch.no_grad():  # no image opens the ReLU, though other values of the layer would
        model.more[0].bias -= model.more[0](model.body(IMAGES)).amax() + 0.01
    assert torch.equal(maps_of(model, "grad-cam"), torch.zeros(2, 1, 12, 12))


# --- ReLUs ------------------------------------------------------------------------------------------------------------

def test_guided_gradcam_takes_the_relus_that_the_image_reaches():
    model = made("aside")
    plain = copy.deepcopy(model)
    plain.aside = nn.Identity()  # of what is positive
    torch.testing.assert_close(maps_of(model, "guided-grad-cam"), maps_of(plain, "guided-grad-cam"))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_guided_gradcam_refuses_what_it_cannot_guide():
    with pytest.raises(ExplainError, match="ReLU 'aside' is used on what depends on the image and on what does not"):
        maps_of(made("mixed"), "guided-grad-cam")

    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.relu, self.scale = nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Parameter(torch.rand(4))

        def forward(self, x):
            return self.body(x).mean((2, 3)) * self.relu(self.scale)

    with pytest.raises(ExplainError, match="the image reaches no nn.ReLU"):
        maps_of(Apart(), "guided-grad-cam")


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_works_in_place_on_its_input_leaves_the_images(method):
    images = IMAGES.clone()
    found = maps_of(made("in place"), method, images)
    assert torch.equal(images, IMAGES)
    if method not in ("occlusion", "integrated-gradients", "smoothgrad"):  # whose zero and noise are of the image as given
        torch.testing.assert_close(found, maps_of(made(), method, IMAGES - 0.5))
    metrics.deletion(made("in place"), images, torch.tensor([0, 1]), torch.rand(2, 12, 12))
    candidate_layers(made("in place"), images)
    assert torch.equal(images, IMAGES)


def traced() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still about
        return torch.jit.trace(made(), IMAGES)


# --- wrappers, types, outputs -----------------------------------------------------------------------------------------

def compiled_in_place() -> nn.Module:
    model = made()
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
                                  lambda model: compiled_in_place()], ids=["DataParallel", "both", "compiled in place"])
def test_wrappers_are_seen_through(wrap, method):
    model = wrap(made())
    with torch.no_grad():
        model(IMAGES)  # compiled now, and so without the hooks to come
    torch.testing.assert_close(maps_of(model, method), maps_of(made(), method))
    assert list(candidate_layers(model, IMAGES)) == ["body.0", "body.1", "body", "more.0", "more.1", "more"]


@pytest.mark.parametrize("method", METHODS)
def test_a_model_in_half_precision_is_explained_in_fp32_around_it(method):
    found = maps_of(made().half(), method, IMAGES.half())
    assert found.dtype == torch.float32
    expected = maps_of(made(), method)
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.98


@pytest.mark.parametrize("method", ["saliency", "occlusion"])
def test_images_in_double_precision_are_not_rounded(method):
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2), nn.ReLU()).double()
    nn.init.constant_(model[1].weight, 1.0)
    nn.init.constant_(model[1].bias, -1.0)
    image = torch.full((1, 1, 1, 1), 1 + 1e-12, dtype=torch.float64)  # in fp32 this is 1, and the ReLU is shut
    found = heatmaps(model, image, 1, method=method)["image"]
    assert found.dtype == torch.float32 and found.item() > 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("model", "says"), [
    (made("tuple"), "returned tuple; wrap it in a module whose forward returns the scores alone"),
    (made("dict"), "returned dict; wrap it"), (made("flat"), r"returned \(1,\); wrap it"),
    (made("answer"), "scores, not torch.int64"),
    (traced(), "TorchScript model hides its layers.*give the module that it was made from"),
    (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
     "layer '1' normalises by the statistics of the batch.*track_running_stats=True")])
def test_what_cannot_be_explained_is_refused_in_a_sentence_that_names_the_way_on(model, says, method):
    with pytest.raises(ExplainError, match=says) as caught:
        heatmaps(model, IMAGES, 1, given(method, "0"), method)
    assert "\n" not in str(caught.value)


def test_a_module_used_twice_is_no_layer_and_no_hindrance():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.relu, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.relu(self.body(self.relu(self.body(x)))).mean((2, 3)))

    with pytest.raises(ExplainError, match="used more than once"):
        maps_of(Shared(), "grad-cam")
    assert candidate_layers(Shared(), IMAGES) == {} and maps_of(Shared(), "saliency").any()


# --- as it came -------------------------------------------------------------------------------------------------------

def state(model: nn.Module) -> list:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [[(m.training, *(tuple(getattr(m, name)) for name in hooks)) for m in model.modules()],
            [(p.requires_grad, p.dtype, p.device, p.stride(), p.grad) for p in model.parameters()],
            {name: value.tolist() for name, value in model.state_dict().items()}]


class Stubborn(nn.Parameter):
    """Once frozen, stays so, with an error."""

    def requires_grad_(self, required: bool = True):
        if required:
            raise RuntimeError("cannot be thawed")
        return super().requires_grad_(required)


def test_where_one_parameter_cannot_be_restored_all_others_are():
    model = made().train()
    model.body[0].weight = Stubborn(model.body[0].weight.detach())
    model.more.eval()
    before = state(model)
    with pytest.raises(RuntimeError, match="cannot be thawed"):
        with undisturbed(model):
            assert not model.training and not any(p.requires_grad for p in model.parameters())
    (modes, needs, values), (left, got, kept) = before, state(model)
    assert (modes, values) == (left, kept)
    names = [name for name, _ in model.named_parameters()]
    assert [name for name, a, b in zip(names, needs, got, strict=True) if a != b] == ["body.0.weight"]


@pytest.mark.parametrize(("method", "where"), [(method, where) for method in METHODS for where in ("forward", "backward")
                                              if (method, where) != ("occlusion", "backward")])
def test_after_an_error_from_inside_the_model_is_as_it_came(method, where):

    def broken(*_):
        raise KeyError("a bug in the model")

    def breaking(output):
        if output.requires_grad:
            output.register_hook(broken)

    model = made().to(memory_format=torch.channels_last).train()
    model.more.eval()
    model.head.bias.requires_grad_(False)
    if where == "forward":
        model.head.register_forward_hook(broken)
    else:
        model.more.register_forward_hook(lambda module, inputs, output: breaking(output))
    before = state(model)
    with pytest.raises(KeyError):
        maps_of(model, method)
    assert state(model) == before


def test_weights_made_in_inference_mode_are_refused_before_anything_is_changed():
    with torch.inference_mode():
        model = Net()
    with pytest.raises(ExplainError, match="made under torch.inference_mode.*make the model outside of it"):
        maps_of(model, "saliency")
    assert model.training and all(p.requires_grad for p in model.parameters())
