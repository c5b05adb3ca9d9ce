"""Attention in parts: it is torch's own, and a norm for each head keeps heads apart."""

import pytest
import torch
from torch import nn

from actnorm.attention import Attention, HeadNorm


def test_without_a_norm_it_is_torchs():
    torch.manual_seed(0)
    own, other = Attention(12, 3, norm=None), nn.MultiheadAttention(12, 3, batch_first=True)
    other.in_proj_weight.data = torch.cat([m.weight.data for m in (own.query, own.key, own.value)])
    other.out_proj.load_state_dict(own.out.state_dict())
    x = torch.randn(5, 7, 12)
    torch.testing.assert_close(own(x), other(x, x, x)[0])


def test_head_norm_is_group_norm_of_the_features():
    torch.manual_seed(0)
    own, other = HeadNorm(12, 3), nn.GroupNorm(3, 12)
    for parameter in own.parameters():
        nn.init.normal_(parameter)
    other.load_state_dict(own.state_dict())
    z = torch.randn(5, 7, 12)
    torch.testing.assert_close(own(z), other(z.flatten(0, 1)).view_as(z))


def test_a_loud_head_leaves_the_others_alone():
    torch.manual_seed(0)
    z = torch.randn(5, 7, 12)
    loud = torch.cat([1000 * z[..., :4], z[..., 4:]], -1)
    for norm, same in ((HeadNorm(12, 3), True), (nn.LayerNorm(12), False)):
        assert torch.allclose(norm(loud)[..., 4:], norm(z)[..., 4:]) == same


def test_each_norm_is_what_its_name_says():
    kinds = {None: nn.Identity, "layer": nn.LayerNorm, "head": HeadNorm}
    for name, kind in kinds.items():
        assert type(Attention(8, 2, norm=name).norm) is kind


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"heads must divide features = 12, not 5"):
        HeadNorm(12, 5)
    with pytest.raises(ValueError, match=r"heads must divide features = 12, not 0"):
        Attention(12, 0, norm=None)
    with pytest.raises(ValueError, match=r"heads must be >= 0, not -3"):
        HeadNorm(12, -3)
    with pytest.raises(TypeError, match=r"heads must be a whole number, not 2.0"):
        Attention(12, 2.0)
    with pytest.raises(ValueError, match=r"norm must be None, layer or head, not 'batch'"):
        Attention(8, 2, norm="batch")


def test_a_norm_that_would_leave_its_bias_alone_is_refused():
    with pytest.raises(ValueError, match=r"heads must hold at least two features each, not 8 in"):
        Attention(8, 8)
    assert Attention(8, 8, norm=None)(torch.randn(2, 8)).shape == (2, 8)
    with pytest.raises(ValueError, match=r"z must hold 12 features, not shape \(5, 1\)"):
        HeadNorm(12, 3)(torch.randn(5, 1))
