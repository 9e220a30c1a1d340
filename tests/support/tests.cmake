# floe-proxy: the pass-through proxy before an S3 endpoint, see proxy/proxy.h.
file(GLOB FLOE_PROXY CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/proxy/*.c)
add_executable(floe-proxy ${CMAKE_CURRENT_LIST_DIR}/floe_proxy_main.c ${FLOE_PROXY})
target_link_libraries(floe-proxy PRIVATE Threads::Threads)
set_target_properties(floe-proxy PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
add_dependencies(floe_test_support floe-proxy)
# A disk that fails, to be preloaded into a broker.
add_library(faultdisk MODULE ${CMAKE_CURRENT_LIST_DIR}/preload/faultdisk.c)
target_link_libraries(faultdisk PRIVATE ${CMAKE_DL_LIBS})
set_target_properties(faultdisk PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_compile_definitions(floe_test_support PRIVATE FLOE_PROXY="$<TARGET_FILE:floe-proxy>")
