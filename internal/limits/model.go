package limits

// WebAssembly modules.
const (
	// WasmModule is the largest module that is run as a job: 64 MiB.
	WasmModule = 64 << 20

	// WasmImports is the largest number of imports of a module. WASI preview1 has 45
	// functions, and compilers import some of them twice.
	WasmImports = 1024
)

// Model signatures, and the headers of model files.
const (
	// ModelSignature is the largest model signature file: 8 MiB.
	ModelSignature = 8 << 20

	// ModelFiles is the largest number of files in the manifest of a model.
	ModelFiles = 65536

	// ModelPath is the longest path in such a manifest, as Linux has it.
	ModelPath = 4096

	// ModelHeader is the longest header of a GGUF file, which holds the whole
	// vocabulary: 256 MiB.
	ModelHeader = 256 << 20

	// ModelJSON is the largest JSON header of a safetensors file: 32 MiB. The
	// format itself goes to 100 MB.
	ModelJSON = 32 << 20

	// ModelValues is the largest number of key-value pairs in a GGUF file.
	ModelValues = 65536

	// ModelTensors is the largest number of tensors in a model file.
	ModelTensors = 1 << 20

	// ModelString is the longest string in a GGUF file: 1 MiB.
	ModelString = 1 << 20
)
