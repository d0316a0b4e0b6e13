"""Losses of a yes/no reranker: contrastive, supervised, the unified loss between them, listwise. See docs/losses.md."""

from mrb.training.losses.contrastive import Contrastive, compute_contrastive_weights
from mrb.training.losses.group import Documents, Group, split_groups
from mrb.training.losses.label_head import LabelRows
from mrb.training.losses.listwise import Listwise
from mrb.training.losses.passes import GroupLoss, OnePass, PointwiseLoss, TwoPass
from mrb.training.losses.supervised import Supervised, compute_supervised_weights
from mrb.training.losses.unified import Unified

__all__ = [
    "Contrastive",
    "Documents",
    "Group",
    "GroupLoss",
    "LabelRows",
    "Listwise",
    "OnePass",
    "PointwiseLoss",
    "Supervised",
    "TwoPass",
    "Unified",
    "compute_contrastive_weights",
    "compute_supervised_weights",
    "split_groups",
]
