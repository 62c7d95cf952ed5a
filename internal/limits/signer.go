package limits

// Signatures of people: of operators and countersigners.
const (
	// Signers is the largest number of their signatures in a capsule.
	Signers = 16

	// SignerItem is the largest of these as carried: 64 KiB. An SSH signature takes
	// 1 KB, one with certificates some 8 KB.
	SignerItem = 64 << 10

	// SignerChain is the largest number of certificates with one of them.
	SignerChain = 6

	// SignerCertificate is the largest of these in DER: 8 KiB.
	SignerCertificate = 8 << 10

	// SignerComment is the longest comment under one of them, in bytes.
	SignerComment = 1024
)
