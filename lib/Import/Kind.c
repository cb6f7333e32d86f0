#include "Import.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char pytorch_advice[] =
    "convert it in Python with the class of the model at hand: model.eval(); "
    "torch.onnx.export(model, (torch.zeros(1, N),), \"model.onnx\"), where N is the number of features";
static const char keras_advice[] =
    "convert it with: python -c 'import keras; "
    "keras.saving.load_model(\"FILE\").export(\"model.onnx\", format=\"onnx\")'"
    "; or with: python -m tf2onnx.convert --keras FILE --output model.onnx";
static const char saved_model_advice[] =
    "convert it with: python -m tf2onnx.convert --saved-model DIR --output model.onnx";
static const char graph_def_advice[] =
    "convert it with: python -m tf2onnx.convert --graphdef FILE --inputs INPUT:0 --outputs OUTPUT:0 "
    "--output model.onnx";
static const char tflite_advice[] =
    "convert it with: python -m tf2onnx.convert --tflite FILE --output model.onnx";
static const char pickle_advice[] =
    "scikit-learn: open(\"model.onnx\", \"wb\").write(skl2onnx.to_onnx(model, X[:1].astype(\"float32\"))"
    ".SerializeToString()); PyTorch: torch.onnx.export(model, (torch.zeros(1, N),), \"model.onnx\")";
static const char boosting_advice[] =
    "XGBoost and LightGBM models are converted by onnxmltools.convert_xgboost and "
    "onnxmltools.convert_lightgbm in Python";
static const char data_advice[] = "arrays are data, not a model";
static const char gguf_advice[] =
    "language models of this kind do not fit into the kernel; nothing to convert";
static const char export_advice[] = "export the trained model to ONNX with the framework that made it";
static const char lfs_advice[] = "fetch the file itself with: git lfs pull";
static const char download_advice[] = "this looks like a failed download: fetch the file itself";

/* Files that begin like this are not ONNX. */
static const struct magic {
    size_t offset, size;
    const char *bytes, *what, *advice;
} magics[] = {
    {0, 8, "\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras .h5", keras_advice},
    {4, 4, "TFL3", "a TensorFlow Lite model", tflite_advice},
    {4, 4, "ORTM", "a model in onnxruntime's own .ort format", "use the .onnx file that it was made from"},
    {0, 2, "\x80\x02", "a Python pickle", pickle_advice},
    {0, 2, "\x80\x03", "a Python pickle", pickle_advice},
    {0, 2, "\x80\x04", "a Python pickle", pickle_advice},
    {0, 2, "\x80\x05", "a Python pickle", pickle_advice},
    {0, 6, "\x93NUMPY", "a NumPy array", data_advice},
    {0, 4, "GGUF", "a GGUF model", gguf_advice},
    {0, 2, "\x1f\x8b", "compressed by gzip", "uncompress it first: gunzip FILE"},
    {0, 4,
     "\x7f"
     "ELF",
     "an ELF object", "mlc reads models; to load a compiled object use mlc-run"},
    {0, 23, "version https://git-lfs", "a Git LFS pointer", lfs_advice},
    {0, 9, "<!DOCTYPE", "an HTML page", download_advice},
    {0, 5, "<html", "an HTML page", download_advice},
    {0, 5, "tree\n", "a LightGBM model in text form", boosting_advice},
    {8, 2, "{\"", "a safetensors file", pytorch_advice},
};

/* A zip archive is told by the names of its members. */
static const struct magic zip_members[] = {
    {0, 8, "data.pkl", "a PyTorch file", pytorch_advice},
    {0, 16, "model.weights.h5", "a Keras model", keras_advice},
    {0, 4, ".npy", "a NumPy archive", data_advice},
    {0, 5, ".onnx", "a zip archive that contains an ONNX file", "unpack it first: unzip FILE"},
};

enum { TEXT_PROBE = 512 };

static bool is_text(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size && i < TEXT_PROBE; i++)
        if ((data[i] < ' ' && data[i] != '\t' && data[i] != '\n' && data[i] != '\r') || data[i] == 127)
            return false;
    return true;
}

static bool report(mlc_diag *diag, const char *what, const char *advice) {
    mlc_error(diag, "not an ONNX file: this is %s", what);
    mlc_note(diag, "%s", advice);
    return true;
}

bool mlc_report_other_format(mlc_diag *diag, const uint8_t *data, size_t size) {
    if (size == 0) {
        mlc_error(diag, "the file is empty");
        return true;
    }
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        const struct magic *m = &magics[i];
        if (size >= m->offset + m->size && memcmp(data + m->offset, m->bytes, m->size) == 0)
            return report(diag, m->what, m->advice);
    }
    if (size >= 4 && memcmp(data, "PK\3\4", 4) == 0) {
        for (size_t i = 0; i < sizeof zip_members / sizeof zip_members[0]; i++)
            if (memmem(data, size, zip_members[i].bytes, zip_members[i].size))
                return report(diag, zip_members[i].what, zip_members[i].advice);
        return report(diag, "a zip archive", export_advice);
    }
    if (is_text(data, size)) {
        bool json = data[0] == '{' || data[0] == '[';
        return report(diag, json ? "JSON text" : "a text file", json ? boosting_advice : export_advice);
    }
    return false;
}

bool mlc_report_other_protobuf(mlc_diag *diag, const uint8_t *data, size_t size) {
    /* GraphDef: nodes in field 1, each with its name in field 1. */
    if (size >= 4 && data[0] == 0x0a && (data[2] == 0x0a || data[3] == 0x0a))
        return report(diag, "another protobuf file, perhaps a TensorFlow GraphDef", graph_def_advice);
    /* SavedModel: schema version 1 in field 1, a MetaGraphDef with its MetaInfoDef in field 2. */
    if (size >= 4 && data[0] == 0x08 && data[1] == 1 && data[2] == 0x12 &&
        memmem(data, size < 4096 ? size : 4096, "serve", 5))
        return report(diag, "a TensorFlow saved_model.pb", saved_model_advice);
    return false;
}

bool mlc_report_folder(mlc_diag *diag, const char *path) {
    char file[4096];
    struct stat st;
    int n = snprintf(file, sizeof file, "%s/saved_model.pb", path);
    if (n > 0 && (size_t)n < sizeof file && stat(file, &st) == 0) {
        report(diag, "the folder of a TensorFlow SavedModel", saved_model_advice);
        return false;
    }
    return mlc_error(diag, "this is a folder, not an ONNX file");
}
