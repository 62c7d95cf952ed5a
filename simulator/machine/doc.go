// Package machine is a whole simulated machine, with measured boot: firmware
// (OVMF, or SeaBIOS), a Linux kernel, a software TPM that a simulated maker has
// provisioned, and disks, run by QEMU's emulation without any help of the
// processor. What boots there is measured by real firmware and a real kernel:
// the event log, the list of IMA and the registers are as on a real machine,
// and prove as little as the TPM does, see package simulator.
//
// [Start] boots one; the first process in it, the program in the folder guest,
// does what the methods of [Machine] ask for. Kernel and firmware are Debian's,
// found or fetched by [FindKernel] and by tools/setup.sh. Linux only.
package machine
