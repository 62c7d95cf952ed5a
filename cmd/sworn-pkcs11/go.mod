module github.com/sworn-run/sworn/cmd/sworn-pkcs11

go 1.26

require github.com/miekg/pkcs11 v1.1.1
