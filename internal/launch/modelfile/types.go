package modelfile

import "strconv"

// blockType is one of ggml's types: block elements are stored in size bytes.
type blockType struct {
	name        string
	block, size uint64
}

// ggmlType returns the type of the given number, as ggml.h numbers them.
func ggmlType(id uint32) (blockType, bool) {
	types := [...]blockType{
		0:  {"F32", 1, 4},
		1:  {"F16", 1, 2},
		2:  {"Q4_0", 32, 18},
		3:  {"Q4_1", 32, 20},
		6:  {"Q5_0", 32, 22},
		7:  {"Q5_1", 32, 24},
		8:  {"Q8_0", 32, 34},
		9:  {"Q8_1", 32, 36},
		10: {"Q2_K", 256, 84},
		11: {"Q3_K", 256, 110},
		12: {"Q4_K", 256, 144},
		13: {"Q5_K", 256, 176},
		14: {"Q6_K", 256, 210},
		15: {"Q8_K", 256, 292},
		16: {"IQ2_XXS", 256, 66},
		17: {"IQ2_XS", 256, 74},
		18: {"IQ3_XXS", 256, 98},
		19: {"IQ1_S", 256, 50},
		20: {"IQ4_NL", 32, 18},
		21: {"IQ3_S", 256, 110},
		22: {"IQ2_S", 256, 82},
		23: {"IQ4_XS", 256, 136},
		24: {"I8", 1, 1},
		25: {"I16", 1, 2},
		26: {"I32", 1, 4},
		27: {"I64", 1, 8},
		28: {"F64", 1, 8},
		29: {"IQ1_M", 256, 56},
		30: {"BF16", 1, 2},
		34: {"TQ1_0", 256, 54},
		35: {"TQ2_0", 256, 66},
		39: {"MXFP4", 32, 17},
		40: {"NVFP4", 64, 36},
		41: {"Q1_0", 128, 18},
		42: {"Q2_0", 64, 18},
	}
	if int64(id) >= int64(len(types)) || types[id].block == 0 {
		return blockType{}, false
	}
	return types[id], true
}

// fileType returns the name of a value of general.file_type, as llama.h numbers
// them, and the number itself if it has none. The values that say "mostly" are
// without it.
func fileType(n uint64) string {
	const guessed = 1024 // added where the file did not say and a program guessed
	names := [...]string{
		0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 4: "Q4_1_SOME_F16", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1",
		10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M",
		18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
		26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
		36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
	}
	known := n &^ guessed
	if known < uint64(len(names)) && names[known] != "" {
		return names[known]
	}
	return strconv.FormatUint(n, 10)
}

// dtypeBits returns the size of an element of safetensors' type in bits.
func dtypeBits(name string) (uint64, bool) {
	switch name {
	case "F4":
		return 4, true
	case "F6_E2M3", "F6_E3M2":
		return 6, true
	case "BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ":
		return 8, true
	case "I16", "U16", "F16", "BF16":
		return 16, true
	case "I32", "U32", "F32":
		return 32, true
	case "I64", "U64", "F64", "C64":
		return 64, true
	default:
		return 0, false
	}
}
