"""What the training scripts of the examples share."""
import warnings

import onnx
import torch


def export(model, sample, output, metadata, path):
    """Writes `model` as ONNX with inputs [N, ...] like `sample`, called x, and says in the file what mlc is to do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(model, (sample,), input_names=["x"], output_names=[output],
                                    dynamic_shapes=({0: torch.export.Dim("N")},), dynamo=True, verbose=False)
    proto = program.model_proto
    proto.doc_string = ""
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]  # the exporter's notes, which name files of this machine
    onnx.helper.set_model_props(proto, {f"mlc.{name}": value for name, value in metadata.items()})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
