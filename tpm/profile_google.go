package tpm

import (
	"crypto/x509"
	"strings"
)

// googleFirst is the profile of Google Compute Engine's first hierarchy, until 2022:
// certificates of virtual TPMs' signing keys carry the key purpose of endorsement
// keys. What tells them from those is the key usage: digitalSignature alone, where an
// endorsement key's is for encryption; the instance is in the same extension as later.
// The root's name begins the same in each of its certificates and ends in the day of
// its making.
func googleFirst() profile {
	return profile{name: "Google Compute Engine, first hierarchy", fits: func(leaf, root *x509.Certificate) bool {
		return usages(leaf) == oidKPEK && leaf.KeyUsage == x509.KeyUsageDigitalSignature &&
			extension(leaf, oidGoogleInstance) != nil && extension(leaf, oidSubjectAltName) != nil &&
			len(root.Subject.Organization) == 1 && root.Subject.Organization[0] == "Google LLC" &&
			strings.HasPrefix(root.Subject.CommonName, "tpm_ek_v1_cloud_host_root-signer-")
	}}
}

// oidGoogleInstance is Google's extension that names the instance of a key.
const oidGoogleInstance = "1.3.6.1.4.1.11129.2.1.21"
