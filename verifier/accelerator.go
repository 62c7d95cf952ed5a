package verifier

import (
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
)

// acceleratorNames are how names of nodes below /dev begin that Linux, or a driver
// outside of it, gives to what computes by itself: a GPU, an NPU, a DSP, an FPGA, or
// a way to have any of these, such as VFIO and raw USB. A device that a vendor names
// anew is not among them: a policy lists devices one by one, and whoever lists one
// answers for it.
func acceleratorNames() []string {
	return []string{
		// Of the kernel's own subsystems.
		"dri/", "accel/", "kfd", "vfio/", "iommu", "bus/usb/", "uio", "fpga", "dfl-", "ocxl/", "cxl/", "dxg", "fastrpc-", "remoteproc",
		// GPUs.
		"nvidia", "nvgpu", "nvhost", "nvmap", "mali", "kgsl", "pvr", "galcore", "mtgpu", "iluvatar", "mxcd",
		// NPUs, DSPs, FPGAs.
		"apex_", "hailo", "habanalabs", "hl", "neuron", "davinci", "hisi_hdc", "devmm_svm", "cambricon", "xpu", "gcu", "npu", "ipu",
		"tenstorrent", "ethosu", "memx", "bm-sophon", "rngd", "rbln", "groq", "adsprpc", "xclmgmt", "xdma", "qdma",
	}
}

// accelerator reports whether a device computes outside what the evidence covers,
// by the name of its node.
func accelerator(device string) bool {
	return slices.ContainsFunc(acceleratorNames(), func(p string) bool { return strings.HasPrefix(device, p) })
}

// acceleratorNumber reports it by the node's number, as far as Linux gives one that
// is always the same (admin-guide/devices.txt): NVIDIA's, those of the Direct
// Rendering Manager, of compute accelerators, and of VFIO.
func acceleratorNumber(d *cer.Device) bool {
	if d.Kind != 'c' {
		return false
	}
	switch d.Major {
	case 195, 226, 261:
		return true
	}
	return d.Major == 10 && d.Minor == 196
}
