"""The messages as tables: a line a message, its fields as ``name:type=number``.

``*`` repeats a field, ``{key,value}`` is a map, ``|`` puts it into the message's one choice; a type with a capital
letter is a message or an enumeration. Only what is served here is listed. Sources: the Open Inference Protocol's gRPC
specification (kserve/open-inference-protocol), Triton's extensions of it (triton-inference-server/common,
grpc_service.proto and model_config.proto), gRPC's health checking and server reflection (grpc/grpc-proto).
"""

from __future__ import annotations

INFERENCE = """
ServerLiveRequest
ServerLiveResponse live:bool=1
ServerReadyRequest
ServerReadyResponse ready:bool=1
ModelReadyRequest name:string=1 version:string=2
ModelReadyResponse ready:bool=1
ServerMetadataRequest
ServerMetadataResponse name:string=1 version:string=2 extensions:*string=3
ModelMetadataRequest name:string=1 version:string=2
ModelMetadataResponse name:string=1 versions:*string=2 platform:string=3 \
inputs:*ModelMetadataResponse.TensorMetadata=4 outputs:*ModelMetadataResponse.TensorMetadata=5 \
properties:{string,string}=6
ModelMetadataResponse.TensorMetadata name:string=1 datatype:string=2 shape:*int64=3
InferParameter bool_param:|bool=1 int64_param:|int64=2 string_param:|string=3 double_param:|double=4 \
uint64_param:|uint64=5
InferTensorContents bool_contents:*bool=1 int_contents:*int32=2 int64_contents:*int64=3 uint_contents:*uint32=4 \
uint64_contents:*uint64=5 fp32_contents:*float=6 fp64_contents:*double=7 bytes_contents:*bytes=8
ModelInferRequest model_name:string=1 model_version:string=2 id:string=3 parameters:{string,InferParameter}=4 \
inputs:*ModelInferRequest.InferInputTensor=5 outputs:*ModelInferRequest.InferRequestedOutputTensor=6 \
raw_input_contents:*bytes=7
ModelInferRequest.InferInputTensor name:string=1 datatype:string=2 shape:*int64=3 \
parameters:{string,InferParameter}=4 contents:InferTensorContents=5
ModelInferRequest.InferRequestedOutputTensor name:string=1 parameters:{string,InferParameter}=2
ModelInferResponse model_name:string=1 model_version:string=2 id:string=3 parameters:{string,InferParameter}=4 \
outputs:*ModelInferResponse.InferOutputTensor=5 raw_output_contents:*bytes=6
ModelInferResponse.InferOutputTensor name:string=1 datatype:string=2 shape:*int64=3 \
parameters:{string,InferParameter}=4 contents:InferTensorContents=5
ModelStreamInferResponse error_message:string=1 infer_response:ModelInferResponse=2
ModelConfigRequest name:string=1 version:string=2
ModelConfigResponse config:ModelConfig=1
ModelStatisticsRequest name:string=1 version:string=2
StatisticDuration count:uint64=1 ns:uint64=2
InferStatistics success:StatisticDuration=1 fail:StatisticDuration=2 queue:StatisticDuration=3 \
compute_input:StatisticDuration=4 compute_infer:StatisticDuration=5 compute_output:StatisticDuration=6 \
cache_hit:StatisticDuration=7 cache_miss:StatisticDuration=8
InferBatchStatistics batch_size:uint64=1 compute_input:StatisticDuration=2 compute_infer:StatisticDuration=3 \
compute_output:StatisticDuration=4
ModelStatistics name:string=1 version:string=2 last_inference:uint64=3 inference_count:uint64=4 \
execution_count:uint64=5 inference_stats:InferStatistics=6 batch_stats:*InferBatchStatistics=7
ModelStatisticsResponse model_stats:*ModelStatistics=1
ModelRepositoryParameter bool_param:|bool=1 int64_param:|int64=2 string_param:|string=3 bytes_param:|bytes=4
RepositoryIndexRequest repository_name:string=1 ready:bool=2
RepositoryIndexResponse models:*RepositoryIndexResponse.ModelIndex=1
RepositoryIndexResponse.ModelIndex name:string=1 version:string=2 state:string=3 reason:string=4
RepositoryModelLoadRequest repository_name:string=1 model_name:string=2 parameters:{string,ModelRepositoryParameter}=3
RepositoryModelLoadResponse
RepositoryModelUnloadRequest repository_name:string=1 model_name:string=2 \
parameters:{string,ModelRepositoryParameter}=3
RepositoryModelUnloadResponse
ModelConfig name:string=1 platform:string=2 backend:string=17 version_policy:ModelVersionPolicy=3 \
max_batch_size:int32=4 input:*ModelInput=5 output:*ModelOutput=6 instance_group:*ModelInstanceGroup=7 \
dynamic_batching:|ModelDynamicBatching=11
ModelInput name:string=1 data_type:DataType=2 dims:*int64=4
ModelOutput name:string=1 data_type:DataType=2 dims:*int64=3
ModelVersionPolicy specific:|ModelVersionPolicy.Specific=3
ModelVersionPolicy.Specific versions:*int64=1
ModelDynamicBatching preferred_batch_size:*int32=1 max_queue_delay_microseconds:uint64=2
ModelInstanceGroup name:string=1 kind:ModelInstanceGroup.Kind=4 count:int32=2
"""

INFERENCE_ENUMS = {
    "DataType": (
        "TYPE_INVALID TYPE_BOOL TYPE_UINT8 TYPE_UINT16 TYPE_UINT32 TYPE_UINT64 TYPE_INT8 TYPE_INT16 TYPE_INT32 "
        "TYPE_INT64 TYPE_FP16 TYPE_FP32 TYPE_FP64 TYPE_STRING TYPE_BF16"
    ),
    "ModelInstanceGroup.Kind": "KIND_AUTO KIND_GPU KIND_CPU KIND_MODEL",
}

INFERENCE_METHODS = """
ServerLive ServerReady ModelReady ServerMetadata ModelMetadata ModelInfer ModelStreamInfer ModelConfig ModelStatistics
RepositoryIndex RepositoryModelLoad RepositoryModelUnload
"""
"""Each takes ``NAMERequest`` and gives ``NAMEResponse``, but for ModelStreamInfer, a stream of infer requests."""

REFUSED_METHODS = """
SystemSharedMemoryStatus SystemSharedMemoryRegister SystemSharedMemoryUnregister
CudaSharedMemoryStatus CudaSharedMemoryRegister CudaSharedMemoryUnregister
TraceSetting LogSettings
"""
"""Methods of Triton's that are known and not offered."""

HEALTH = """
HealthCheckRequest service:string=1
HealthCheckResponse status:HealthCheckResponse.ServingStatus=1
HealthListRequest
HealthListResponse statuses:{string,HealthCheckResponse}=1
"""

HEALTH_ENUMS = {"HealthCheckResponse.ServingStatus": "UNKNOWN SERVING NOT_SERVING SERVICE_UNKNOWN"}

REFLECTION = """
ServerReflectionRequest host:string=1 file_by_filename:|string=3 file_containing_symbol:|string=4 \
file_containing_extension:|ExtensionRequest=5 all_extension_numbers_of_type:|string=6 list_services:|string=7
ExtensionRequest containing_type:string=1 extension_number:int32=2
ServerReflectionResponse valid_host:string=1 original_request:ServerReflectionRequest=2 \
file_descriptor_response:|FileDescriptorResponse=4 all_extension_numbers_response:|ExtensionNumberResponse=5 \
list_services_response:|ListServiceResponse=6 error_response:|ErrorResponse=7
FileDescriptorResponse file_descriptor_proto:*bytes=1
ExtensionNumberResponse base_type_name:string=1 extension_number:*int32=2
ListServiceResponse service:*ServiceResponse=1
ServiceResponse name:string=1
ErrorResponse error_code:int32=1 error_message:string=2
"""
