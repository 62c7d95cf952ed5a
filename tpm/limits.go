package tpm

// Bounds on hostile input, checked before anything is allocated. The largest
// genuine structures stay well below: a TPMS_ATTEST of four banks is 253
// bytes, the TPMT_SIGNATURE of an RSA-4096 key 518, its TPMT_PUBLIC 602.
const (
	maxAttest       = 1024
	maxSignature    = 1024
	maxPublic       = 1024
	maxCertificate  = 8192
	maxCertificates = 6
	// maxNVPublic bounds the part "nv-public", in bytes: a genuine one has 14.
	maxNVPublic = 14
	maxParts    = 8 + maxCertificates

	// maxBanks bounds TPML_PCR_SELECTION; HASH_COUNT of known TPMs is 4.
	maxBanks = 4
	// maxSelect bounds sizeofSelect, in bytes: registers 0 to 31.
	maxSelect = 4
	// maxRegisters is the largest number of registers one quote can select.
	maxRegisters = maxBanks * maxSelect * 8
	// maxPCRs bounds the part "pcrs", in bytes.
	maxPCRs = maxRegisters * maxDigest
	// maxDigest is the size of the largest digest, SHA-512.
	maxDigest = 64
	// maxName is the size of the largest Name: algorithm and digest.
	maxName = 2 + maxDigest
	// maxData is the largest TPM2B_DATA: the size of TPMT_HA (Part 2, 10.4.3).
	maxData = 2 + maxDigest
)
