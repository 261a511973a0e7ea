"""Ensembles of trees as ONNX models, and what they say by onnxruntime.

A model is one TreeEnsembleRegressor (ONNX operators, ai.onnx.ml, version 3), with a Sigmoid behind it where the sum is
the log odds of a probability. It has one input `features` of (r, p) float32, and one output `value` of (r, 1) float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf
from pydantic import BaseModel, ConfigDict, ValidationError

from presage.frame import BoolArray, FloatArray, IntArray
from presage.models.direct import varying
from presage.models.libraries import library
from presage.models.state import unreadable
from presage.spec.models import ModelName

INPUT, OUTPUT = "features", "value"
_SCORE = "score"
_IMPORTANCE = "importance"
_OPERATORS = {"": 15, "ai.onnx.ml": 3}
_IR_VERSION = 8
_LARGEST = float(np.finfo(np.float32).max)

SingleArray = NDArray[np.float32]


@dataclass(frozen=True)
class Tree:
    """The nodes of a tree, the root first.

    Attributes:
        left: (n,) place of the node for values at or below the threshold; 0 at leaves.
        right: (n,) place of the node for values above it; 0 at leaves.
        leaf: (n,) whether the node is a leaf.
        feature: (n,) place of the feature that is compared; 0 at leaves.
        threshold: (n,) float64.
        missing_left: (n,) whether a missing value goes left.
        value: (n,) what a leaf adds to the ensemble's sum.
    """

    left: IntArray
    right: IntArray
    leaf: BoolArray
    feature: IntArray
    threshold: FloatArray
    missing_left: BoolArray
    value: FloatArray


class _Importance(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    weights: tuple[float, ...]


@dataclass(frozen=True)
class OnnxTrees:
    """A fitted ensemble.

    Attributes:
        content: The ONNX model.
        session: The same, ready to run on one thread.
        weights: (p,) importance of the features.
    """

    content: bytes
    session: onnxruntime.InferenceSession
    weights: FloatArray

    @property
    def suffix(self) -> str:
        """What its file's name ends with."""
        return "onnx"

    def predict(self, features: FloatArray) -> FloatArray:
        """Return (r,) values, computed in single precision."""
        values = self.session.run([OUTPUT], {INPUT: single(features)})[0]
        return np.asarray(values[:, 0], dtype=np.float64)

    def importance(self) -> FloatArray:
        """Return (p,) what the fit found each feature to be worth."""
        return self.weights

    def dump(self) -> bytes:
        """Return the ONNX model."""
        return self.content


def single(features: FloatArray) -> SingleArray:
    """Return features in single precision, the too large ones as the largest there is."""
    return np.clip(features, -_LARGEST, _LARGEST).astype(np.float32)


def trainable(features: FloatArray) -> SingleArray:
    """Return (m, p) features in single precision, with zeros for those that do not vary: no tree can split on them."""
    return np.where(varying(features), single(features), np.float32(0))


def export(trees: Sequence[Tree], *, base: float, log_odds: bool, importance: FloatArray, name: ModelName) -> OnnxTrees:
    """Return an ensemble as an ONNX model, ready to run.

    Args:
        trees: What is summed up.
        base: What the sum starts from.
        log_odds: Whether the sum is the log odds of a probability, which is then the value.
        importance: (p,) weights of the features.
        name: The forecaster's name.

    Raises:
        MissingExtraError: The package onnx is not installed.
    """
    onnx = library("onnx", needed_by=name)
    width = len(importance)
    sizes = [len(tree.leaf) for tree in trees]
    places = np.concatenate([np.arange(size) for size in sizes])
    owners = np.repeat(np.arange(len(trees)), sizes)
    leaf = np.concatenate([tree.leaf for tree in trees])
    node = onnx.helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        [_SCORE if log_odds else OUTPUT],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        base_values=[base],
        nodes_treeids=owners.tolist(),
        nodes_nodeids=places.tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_featureids=np.concatenate([tree.feature for tree in trees]).tolist(),
        nodes_values=_below(np.concatenate([tree.threshold for tree in trees])).tolist(),
        nodes_truenodeids=np.concatenate([tree.left for tree in trees]).tolist(),
        nodes_falsenodeids=np.concatenate([tree.right for tree in trees]).tolist(),
        nodes_missing_value_tracks_true=np.concatenate([tree.missing_left for tree in trees]).astype(int).tolist(),
        target_treeids=owners[leaf].tolist(),
        target_nodeids=places[leaf].tolist(),
        target_ids=np.zeros(int(leaf.sum()), dtype=int).tolist(),
        target_weights=np.concatenate([tree.value for tree in trees])[leaf].tolist(),
    )
    # onnxruntime leaves out the operator's own LOGISTIC where there is one target.
    nodes = [node, onnx.helper.make_node("Sigmoid", [_SCORE], [OUTPUT])] if log_odds else [node]
    number = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        name,
        [onnx.helper.make_tensor_value_info(INPUT, number, [None, width])],
        [onnx.helper.make_tensor_value_info(OUTPUT, number, [None, 1])],
    )
    operators = [onnx.helper.make_opsetid(domain, version) for domain, version in _OPERATORS.items()]
    model = onnx.helper.make_model(graph, opset_imports=operators, ir_version=_IR_VERSION, producer_name="presage")
    onnx.helper.set_model_props(model, {_IMPORTANCE: _Importance(weights=tuple(importance.tolist())).model_dump_json()})
    return load_trees(model.SerializeToString(deterministic=True), width, name)


def load_trees(content: bytes, width: int, name: ModelName) -> OnnxTrees:
    """Return the ensemble of p = width features that was dumped; raises LakeError for anything else."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        properties = session.get_modelmeta().custom_metadata_map
        weights = _Importance.model_validate_json(properties.get(_IMPORTANCE, "")).weights
    except (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, ValidationError) as error:
        raise unreadable(f"a step of {name} holds no trees") from error
    inputs = [(one.name, one.shape[1:]) for one in session.get_inputs()]
    if inputs != [(INPUT, [width])] or len(weights) != width:
        raise unreadable(f"a step of {name} does not read {width} features")
    return OnnxTrees(content, session, np.array(weights))


def _below(thresholds: FloatArray) -> SingleArray:
    """Return the largest number of single precision that is not above each threshold.

    Then a feature of single precision is at or below the one exactly where it is at or below the other.
    """
    rounded = np.clip(thresholds, -_LARGEST, _LARGEST).astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
