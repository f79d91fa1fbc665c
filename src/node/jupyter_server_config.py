# Read beside jupyter_server_config.json, which holds the settings of this node.
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager


class Kernels(AsyncMappingKernelManager):
    """Lists the kernels that have started.

    One that still starts has no `last_activity`: jupyter-server 1.23 then fails the whole list, and answers
    /api/status and /api/kernels with 500 for as long as a kernel takes to start.
    """

    def list_kernels(self):
        started = [id for id in self.list_kernel_ids() if hasattr(self.get_kernel(id), "last_activity")]
        return [self.kernel_model(id) for id in started]


c = get_config()  # noqa: F821 (defined by the reader of this file)
c.ServerApp.kernel_manager_class = Kernels
# Files lie on a network volume: the default manager stops the whole server while one is written.
c.ServerApp.contents_manager_class = AsyncLargeFileManager
