"""The names that a pickle of weights may mention. None of them is ever imported or called: they stand for data."""

TORCH_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "QInt8Storage": "I8",
    "QUInt8Storage": "U8",
    "QInt32Storage": "I32",
}
"""Classes of `torch` that hold the bytes of tensors, with the format that safetensors knows by that name."""

TORCH_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "complex64": "C64",
    "complex128": "C128",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
"""Formats as `torch` names them."""

UNTYPED = "torch.storage.UntypedStorage"
ORDERED_DICT = "collections.OrderedDict"
SIZE = "torch.Size"
REBUILD_TENSOR = frozenset({"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"})
REBUILD_TENSOR_OF_DTYPE = "torch._utils._rebuild_tensor_v3"
REBUILD_PARAMETER = frozenset(
    {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state", "torch.nn.parameter.Parameter"}
)
REBUILD_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"

STAND_INS = frozenset(
    {
        "numpy.dtype",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        # Stable Diffusion 1.4 was published with the settings of its trainer.
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    }
)
"""What trainers leave beside the weights, and torch's own unpickler refuses: it is given something inert instead."""

_INERT = frozenset(
    {
        "collections.defaultdict",
        "collections.Counter",
        "__builtin__.set",
        "__builtin__.dict",
        "__builtin__.list",
        "__builtin__.frozenset",
        "__builtin__.bytearray",
        "__builtin__.complex",
        "builtins.set",
        "builtins.dict",
        "builtins.list",
        "builtins.frozenset",
        "builtins.bytearray",
        "builtins.complex",
        "_codecs.encode",
        "argparse.Namespace",
        "torch.device",
        "torch.Tensor",
        "torch.strided",
        "torch.serialization._get_layout",
        "torch._utils._rebuild_device_tensor_from_numpy",
        "numpy.ndarray",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        *STAND_INS,
    }
)

ALLOWED = frozenset(
    {
        *_INERT,
        *(f"torch.{name}" for name in TORCH_STORAGES),
        *(f"torch.{name}" for name in TORCH_DTYPES),
        *REBUILD_TENSOR,
        *REBUILD_PARAMETER,
        REBUILD_TENSOR_OF_DTYPE,
        REBUILD_FROM_TYPE,
        UNTYPED,
        ORDERED_DICT,
        SIZE,
    }
)
"""Every global that is not refused."""
