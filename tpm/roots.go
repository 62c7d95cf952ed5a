package tpm

import (
	"encoding/hex"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// The roles of TPM roots (docs/SPEC.md, section 9).
const (
	// RoleEK is the role of makers, who certify endorsement keys.
	RoleEK = "tpm-ek"
	// RoleAK is the role of those who certify attestation keys.
	RoleAK = rootRole
)

// looked is when the table was last reviewed, row by row.
const looked = "2026-11-28"

// row is one pinned root: role, product, subject, SHA-256 of its
// SubjectPublicKeyInfo, first and last day, and where its vendor publishes it.
type row struct{ role, product, subject, spki, from, until, source string }

// rows is the reviewed table. Roots with a SHA-1 signature are not in it (two of
// Nuvoton, of 2012), nor makers whose own root could not be seen (Nationz,
// Alibaba), nor CAs below a root that could not (AMD Pluton).
func rows() []row {
	const (
		amd      = "CN=AMDTPM,OU=Engineering,O=Advanced Micro Devices,L=Sunnyvale,ST=CA,C=US"
		infineon = ",OU=OPTIGA(TM) Devices,O=Infineon Technologies AG,C=DE"
		intel    = ",O=Intel Corporation,L=Santa Clara,ST=CA,C=US"
		nsing    = ",OU=TPM Devices,O=NSING Technologies Pte. Ltd.,C=SG"
		nuvoton  = ",O=Nuvoton Technology Corporation,C=TW"
		ntc      = "https://www.nuvoton.com/security/NTC-TPM-EK-Cert/"
		gsign    = ",OU=GlobalSign Trusted Computing Certificate Authority,O=GlobalSign"
		st       = ",O=STMicroelectronics NV,C=CH"
		google18 = `CN=tpm_ek_v1_cloud_host_root-signer-0-2018-04-06T10:58:26-07:00 K:1\, 1:Pw003HsFYO4:0:18,OU=Cloud,O=Google LLC,L=Mountain View,ST=California,C=US`
		google22 = "CN=EK/AK CA Root,OU=Google Cloud,O=Google LLC,L=Mountain View,ST=California,C=US"
		url18    = "https://pki.goog/cloud_integrity/tpm_ek_root_1.crt"
		url22    = "http://privateca-content-62d71773-0000-21da-852e-f4f5e80d7778.storage.googleapis.com/032bf9d39db4fa06aade/ca.crt"
		azure    = "CN=Azure Virtual TPM Root Certificate Authority 2023,O=Microsoft Corporation,C=US"
		ms       = "https://www.microsoft.com/pkiops/certs/"
		azureURL = ms + "Azure%20Virtual%20TPM%20Root%20Certificate%20Authority%202023.crt"
	)
	return []row{
		{RoleEK, "AMD", amd, "899b9c9d6e926c40aaefbea3905173f00f7b52ad6eb4d2d32e6fcb1979710e2b", "2014-10-23", "2039-10-23", "https://ftpm.amd.com/pki/aia/264D39A23CEB5D5B49D610044EEBD121"},
		{RoleEK, "AMD", amd, "5cf1859ffbd2cd18c13345d47692bea4ea2464fbfb74298364fa979e833229f6", "2016-01-01", "2041-01-01", "https://ftpm.amd.com/pki/aia/23452201D41C5AB064032BD23F158FEF"},
		{RoleEK, "IFX", "CN=Infineon OPTIGA(TM) ECC Root CA" + infineon, "ce5183a19d6fe79a6c1b058cfa700379f67d587a8afd0f51621e82d9f00c5a28", "2013-07-26", "2043-07-25", "https://pki.infineon.com/OptigaEccRootCA/OptigaEccRootCA.crt"},
		{RoleEK, "IFX", "CN=Infineon OPTIGA(TM) ECC Root CA 2" + infineon, "f21c8db44a3df3a43465230d30846f5fea08afa4428b982ff922065528c81f19", "2019-11-22", "2054-11-22", "https://pki.infineon.com/OptigaEccRootCA2/OptigaEccRootCA2.crt"},
		{RoleEK, "IFX", "CN=Infineon OPTIGA(TM) RSA Root CA" + infineon, "8a705088efa28a3845b35c7fcbf9c0f4bf46c77da18a6f1a173eb9074610cbd0", "2013-07-26", "2043-07-25", "https://pki.infineon.com/OptigaRsaRootCA/OptigaRsaRootCA.crt"},
		{RoleEK, "IFX", "CN=Infineon OPTIGA(TM) RSA Root CA 2" + infineon, "d821e2a37a846f9f3a66a82c9346f18cc418c418fb6c55e933b25aee54afe8de", "2019-11-22", "2054-11-22", "https://pki.infineon.com/OptigaRsaRootCA2/OptigaRsaRootCA2.crt"},
		{RoleEK, "INTC", "CN=www.intel.com,OU=TPM EK root cert signing" + intel, "baf3caf0db083d8155424bb24d6fbbd8ba7487fc5b3ca45d3eb6b2b2e4656ade", "2014-01-15", "2049-12-31", "https://upgrades.intel.com/content/CRL/ekcert/EKRootPublicKey.cer"},
		{RoleEK, "INTC", "CN=www.intel.com,OU=OnDie CA Root Cert Signing" + intel, "84b25305bf5f90c399d7f520ad81f451e09b0025d0292143e1388970f9651484", "2019-04-03", "2049-12-31", "https://tsci.intel.com/content/OnDieCA/certs/OnDie_CA_RootCA_Certificate.cer"},
		{RoleEK, "NSG", "CN=NSING TPM ECC ROOT CA 001" + nsing, "00846603beb1cd5a41f71a4cf98b0bd77f974c879c94f60809541de7287dea84", "2024-03-27", "2059-03-27", "https://pki.nsing.com.sg/NSEccRootCA001/NSEccRootCA001.crt"},
		{RoleEK, "NSG", "CN=NSING TPM RSA ROOT CA 001" + nsing, "b5eadb92b6aaf54816c45c6bf57a92ac945bf8285a1c7451008c6207269fad1d", "2024-03-27", "2059-03-27", "https://pki.nsing.com.sg/NSRsaRootCA001/NSRsaRootCA001.crt"},
		{RoleEK, "NTC", "CN=NPCTxxx ECC521 RootCA" + nuvoton, "e73d53e508a4558df188cd77d18f3efa5fb18b8b48c1ee3b27679e08f431029c", "2023-04-27", "2053-04-27", ntc + "NPCTxxxECC521RootCA.cer"},
		{RoleEK, "NTC", "CN=Nuvoton TPM Root CA 0100" + nuvoton, "2b40169e346867de502a647990f4d771980765f9cbef5c823380f3aa9626da53", "2015-04-20", "2035-04-16", ntc + "Nuvoton%20TPM%20Root%20CA%200100.cer"},
		{RoleEK, "NTC", "CN=Nuvoton TPM Root CA 1110" + nuvoton, "b7f4414b44f1787f046aec866693cda643239b3d0f6998d0ad4adb841e4bd0db", "2015-05-11", "2035-05-07", ntc + "Nuvoton%20TPM%20Root%20CA%201110.cer"},
		{RoleEK, "NTC", "CN=Nuvoton TPM Root CA 1111" + nuvoton, "c871b0ba1182676eeed4c2469d3d5fa3cfa09daca77ea823a4b454cf00dee11e", "2017-08-21", "2037-08-17", ntc + "Nuvoton%20TPM%20Root%20CA%201111.cer"},
		{RoleEK, "NTC", "CN=Nuvoton TPM Root CA 2110" + nuvoton, "b54c81a52159aaf524c88dcf5a7e7a6f5f9ec2f4e69aee0bb3897f0c65e4faea", "2015-10-19", "2035-10-15", ntc + "Nuvoton%20TPM%20Root%20CA%202110.cer"},
		{RoleEK, "NTC", "CN=Nuvoton TPM Root CA 2111" + nuvoton, "95b8ab2c350f58064c30a217f07e0a3353915edee572c5fb2ebcf8fa3f87a813", "2017-09-11", "2037-09-07", ntc + "Nuvoton%20TPM%20Root%20CA%202111.cer"},
		{RoleEK, "NTC", "CN=Nuvoton TPM Root CA 2112" + nuvoton, "016b91ecb9f473ab57499ff308c3f948a40287d5d951e5f6651482ad7d381924", "2021-03-23", "2041-03-19", ntc + "Nuvoton%20TPM%20Root%20CA%202112.cer"},
		{RoleEK, "NTC", "CN=NuvotonTPMRootCA1210" + nuvoton, "f6564f73c8ad3bd48fe5571d06d7e2625b1736e716445460e78a5ac6b3b69768", "2021-08-02", "2051-07-27", ntc + "NuvotonTPMRootCA1210.cer"},
		{RoleEK, "NTC", "CN=NuvotonTPMRootCA2210" + nuvoton, "d325df18987aeda5c6c072c178babc54c3e1e24e563c691fe881099dddcb31e8", "2022-03-14", "2052-03-07", ntc + "NuvotonTPMRootCA2210.cer"},
		{RoleEK, "NTC", "CN=NuvotonTPMRootCA2211" + nuvoton, "1f3ddd0a51b57d54833ae705f8e47f28817a1551d12aee3c6beeed5f1ea2a59d", "2022-03-14", "2052-03-07", ntc + "NuvotonTPMRootCA2211.cer"},
		{RoleEK, "STM", "CN=GlobalSign Trusted Platform Module ECC Root CA" + gsign, "43679317522d3638ea18936a57c65b33086ba51c77536fe6e1b65492193314cb", "2014-11-26", "2038-01-19", "https://secure.globalsign.com/cacert/tpmeccroot.crt"},
		{RoleEK, "STM", "CN=GlobalSign Trusted Platform Module Root CA" + gsign, "0035d2297fe237a636800382cc2c9e205c6930f84b507ceec3608545d273960f", "2009-03-18", "2049-03-18", "https://secure.globalsign.com/cacert/gstpmroot.crt"},
		{RoleEK, "STM", "CN=STSAFE ECC Root CA 02" + st, "7fbef05051f792251d32f5b265821137d47cd3dc3d604ace70ecc12e8e579924", "2022-01-20", "9999-12-31", "https://sw-center.st.com/STSAFE/STSAFEEccRootCA02.crt"},
		{RoleEK, "STM", "CN=STSAFE RSA Root CA 02" + st, "566cb2589d45c1478036e667da1793daacdadbba57efd6aa29b78d0e6695fd9f", "2022-01-20", "9999-12-31", "https://sw-center.st.com/STSAFE/STSAFERsaRootCA02.crt"},
		// Firmware TPMs of several makers, certified by Microsoft.
		{RoleEK, "", "CN=Microsoft TPM Root Certificate Authority 2014,O=Microsoft Corporation,L=Redmond,ST=Washington,C=US", "5eadfa0187a24edb747b98523f89cf92d33eeb20ec81b9d0a31e170b73c2dbb2", "2014-12-10", "2039-12-10", ms + "Microsoft%20TPM%20Root%20Certificate%20Authority%202014.crt"},
		{RoleEK, "", "CN=Microsoft Pluton Root CA 2021,O=Microsoft Corporation,C=US", "664778b23fd09c0c61407fb4c2253f9a8978e64be8c4f9a89a92b4acc37d8a70", "2021-10-14", "2046-10-14", ms + "Microsoft%20Pluton%20Root%20CA%202021.crt"},
		// Virtual TPMs: one root certifies both kinds of keys.
		{RoleEK, "GOOG", google18, google2018, "2018-04-06", "2118-04-06", url18},
		{RoleEK, "GOOG", google22, google2022, "2022-07-08", "2122-07-08", url22},
		{RoleEK, "MSFT", azure, azure2023, "2023-06-01", "2048-06-01", azureURL},
		{RoleAK, "Google Compute Engine", google18, google2018, "2018-04-06", "2118-04-06", url18},
		{RoleAK, "Google Compute Engine", google22, google2022, "2022-07-08", "2122-07-08", url22},
		{RoleAK, "Azure", azure, azure2023, "2023-06-01", "2048-06-01", azureURL},
	}
}

// The keys of those who certify AKs: SHA-256 of SubjectPublicKeyInfo.
const (
	google2018 = "f23057f4f97d1d90e4cae0ce91d5a0fc99069f0a1bc147021dca33b1e9c4d0d9"
	google2022 = "56a613f57126a385dd6949294e93b0b566f96ab0573be0c2368e6f5ca779831f"
	azure2023  = "5cbc52672ae101263c2976736044a964c1182ce9412c39937183baddcccb8cdf"
)

// Pins returns the roots of TPM makers (role "tpm-ek") and of those who certify
// AKs (role "tpm-ak") that this version knows. They are names of keys: nothing
// is trusted by them until a relying party puts them into its anchors and names
// the key in its policy. Simulated makers are never among them. A row that
// cannot be read is left out, and this package's test fails.
func Pins() []attest.Pin {
	var out []attest.Pin
	for _, r := range rows() {
		p := attest.Pin{Role: r.role, Product: r.product, Subject: r.subject, Source: r.source}
		spki, err := hex.DecodeString(r.spki)
		bad := err != nil || copy(p.SPKI[:], spki) != len(p.SPKI)
		for _, d := range []struct {
			text string
			to   *time.Time
		}{{r.from, &p.From}, {r.until, &p.Until}, {looked, &p.Looked}} {
			t, err := time.Parse(time.DateOnly, d.text)
			bad = bad || err != nil
			*d.to = t
		}
		if !bad {
			out = append(out, p)
		}
	}
	return out
}
