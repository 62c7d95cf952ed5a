package limits

// WebAssembly modules.
const (
	// WasmModule is the largest module that is run as a job: 64 MiB.
	WasmModule = 64 << 20

	// WasmImports is the largest number of imports of a module. WASI preview1 has 45
	// functions, and compilers import some of them twice.
	WasmImports = 1024

	// WasmTables is the largest number of tables of a module, and WasmTable what each
	// can hold: 8 MiB of references.
	WasmTables = 16
	WasmTable  = 1 << 20

	// WasmOpenFiles is the largest number of files and folders that a module can have
	// open at once.
	WasmOpenFiles = 4096

	// WasmFunction is the longest function in bytes, WasmLocals the largest number of
	// its variables, and WasmParameters that of parameters, and of results: what
	// browsers take (WebAssembly JavaScript interface, implementation limits).
	WasmFunction   = 7_654_321
	WasmLocals     = 50_000
	WasmParameters = 1000
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
